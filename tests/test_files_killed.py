"""A write that is killed at any point leaves the old model or the new one; the same model is the same bytes (IO)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from file_models import LAYOUTS, OLD, contents, options

import refser

KILLED = """if True:
    import json, os, pathlib, shutil, signal, sys
    sys.path.insert(0, sys.argv[3])
    import numpy, h5py, zipfile, ctypes, refser, refser.api
    import file_models as t
    base, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    old, new = t.LAYOUTS[name](t.OLD), t.LAYOUTS[name](t.NEW)
    EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.listdir", "os.scandir",
              "shutil.copyfile", "shutil.rmtree", "shutil.copymode", "ctypes.dlopen", "ctypes.dlsym"}
    NAMES = ("atomic.py", "output.py", "weights_sharded.py", "keras_zip.py", "keras_dir.py", "config_json.py")
    FILES = tuple(os.path.join(folder, name) for folder in ("refser", "layouts") for name in NAMES)

    def save(folder, how, number, model):
        left = [number]
        def count():
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        if how == "event":
            sys.addaudithook(lambda event, arguments: count() if event in EVENTS else None)
        else:
            def line(frame, event, argument):
                if event == "line":
                    count()
                return line
            sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename.endswith(FILES) else None)
        refser.save(model, folder / name, overwrite=True, **t.options(name))

    def state(folder):
        if not os.path.lexists(folder / name):
            return "absent"
        try:
            found = refser.load(folder / name)
        except refser.RefserError as error:
            return f"broken: {error}"
        return "old" if t.same(found, old) else "new" if t.same(found, new) else "mixed"

    template = base / "template"
    template.mkdir()
    refser.save(old, template / name, **t.options(name))
    results = []
    for how in ("event", "line"):
        for start in ("old", "absent"):
            number, step = 0, 1 if how == "event" else int(sys.argv[4])
            while True:
                folder = base / f"{how}{start}{number}"
                shutil.copytree(template, folder, symlinks=True) if start == "old" else folder.mkdir()
                child = os.fork()
                if child == 0:
                    try:
                        save(folder, how, number, new)
                    except BaseException as error:
                        print(error, file=sys.stderr)
                        os._exit(1)
                    os._exit(0)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                first = state(folder)
                refser.save(new, folder / name, overwrite=True, **t.options(name))
                results.append([how, start, number, code, first, state(folder)])
                shutil.rmtree(folder)
                if code != -signal.SIGKILL:
                    break
                number += step
    print(json.dumps(results))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io006_io007_io008_killed_at_any_point_the_old_model_or_the_new_one_is_there(tmp_path: Path, name: str) -> None:
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path  # where a flush costs nothing
    with tempfile.TemporaryDirectory(dir=memory) as base:
        command = [sys.executable, "-c", KILLED, base, name, str(Path(__file__).parent), "5"]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr[-3000:]
    results = json.loads(out.stdout)
    for how in ("event", "line"):
        for start in ("old", "absent"):
            run = [result[2:] for result in results if result[:2] == [how, start]]
            states = [state for _, _, state, _ in run]
            assert set(states) <= {start, "new"}, [result for result in run if result[2] not in (start, "new")]
            assert states == sorted(states, key=["old", "absent", "new"].index)  # once new, never old again
            assert (states[0], run[-1][1], states[-1]) == (start, 0, "new")  # the first was killed, the last was not
            assert len(run) >= 4
            assert {after for *_, after in run} == {"new"}  # and whatever was left lying does not hinder the next save


# --- the same model, the same bytes

SAVE = """if True:
    import pathlib, sys
    sys.path.insert(0, sys.argv[2])
    import refser, file_models as t
    for name, make in t.LAYOUTS.items():
        refser.save(make(t.OLD), pathlib.Path(sys.argv[1]) / name, **t.options(name))
"""


def test_io009_h5015_the_same_model_gives_the_same_bytes_at_any_time_in_any_process(tmp_path: Path) -> None:
    runs = []
    for number, (seed, zone) in enumerate((("0", "UTC"), ("12345", "Asia/Tokyo"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone}
        wait = "import time; time.sleep(2.1)\n" if number else ""  # zip counts in two seconds, HDF5 in one
        command = [sys.executable, "-c", wait + SAVE, str(folder), str(Path(__file__).parent)]
        subprocess.run(command, check=True, env=environment)
        runs.append(contents(folder))
    assert sorted(runs[0]) == sorted(runs[1])
    assert [name for name in runs[0] if runs[0][name] != runs[1][name]] == []


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io009_h5015_a_copy_of_a_copy_is_the_same_bytes(tmp_path: Path, name: str) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        model = refser.load(tmp_path / str(number - 1) / name) if number else LAYOUTS[name](OLD)
        refser.save(model, tmp_path / str(number) / name, **options(name))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
