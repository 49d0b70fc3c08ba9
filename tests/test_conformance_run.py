"""The runner of the conformance suite, with small tools that are right, wrong, slow, dead or talk nonsense."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import pytest

CONFORMANCE = Path(__file__).parents[1] / "conformance"
PYTHON = f"{sys.executable} -I -S"
SHA = "0" * 64
WEIGHTS = {"b": {"dtype": "float32", "shape": [2], "sha256": SHA}, "a": {"dtype": "int8", "shape": [], "sha256": SHA}}
READ = {"layout": "weights-h5", "weights": WEIGHTS, "names": {"vars": None}, "metadata": {}, "config_sha256": SHA}
VARIABLES = [{"path": "b", "shape": [2]}, {"path": "a", "shape": [None]}]

# What the tool answers stands in the input; `do` is what it does instead.
TOOL = """
import json, os, signal, sys, time
def act(asked):
    text = json.load(open(asked["input"]))
    do = text.get("do", "")
    if do == "exit": os._exit(3)
    if do == "signal": os.kill(os.getpid(), signal.SIGSEGV)
    if do == "hang": time.sleep(600)
    if do == "noise": sys.stdout.write("hello\\n{broken\\n"); sys.stdout.flush(); return None
    if do == "warn": sys.stdout.write("a warning\\n")
    if do == "memory": bytearray(3 << 30)
    if do == "list": return [1]
    if do == "asked": return {"result": "unsupported", "reason": asked["kind"] + asked.get("keras", "")}
    if "write" in text and asked["output"]: open(asked["output"], "w").write(text["write"])
    return text.get("answer")
def main():
    if sys.argv[1] != "--serve":
        found = act(dict(zip(("kind", "input", "output", "keras"), sys.argv[1:])))
        if found is not None: print(json.dumps(found))
        return
    for line in sys.stdin:
        asked = json.loads(line)
        found = act(asked)
        if found is not None: print(json.dumps({"id": asked["id"], **found} if isinstance(found, dict) else found), flush=True)
main()
"""


class Suite:
    """A copy of the runner with cases of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "cases").mkdir()
        (folder / "profiles").mkdir()
        shutil.copy(CONFORMANCE / "run.py", folder / "run.py")
        (folder / "tool.py").write_text(TOOL, "utf-8")
        self.tool = f"{PYTHON} {folder / 'tool.py'} {{kind}} {{input}} {{output}} {{keras}}"
        self.server = f"{PYTHON} {folder / 'tool.py'} --serve"

    def case(self, name: str, told: Any, *, kind: str = "read", expect: Any = None, **more: Any) -> None:
        """A case whose input says what the tool does."""
        folder = self.folder / "cases" / name
        folder.mkdir(parents=True)
        (folder / "in.json").write_text(json.dumps(told), "utf-8")
        about = {"id": name, "title": "t", "kind": kind, "covers": [], "spec": ">=0.1", "input": "in.json", **more}
        if expect is not None:
            (folder / "expect.json").write_text(json.dumps(expect), "utf-8")
            about["expect"] = "expect.json"
        (folder / "case.json").write_text(json.dumps(about), "utf-8")

    def run(self, *words: str, tool: bool = True, server: bool = False) -> tuple[int, dict[str, dict[str, Any]], str]:
        """Exit code, results by id, what was printed."""
        how = ["--server", self.server] if server else ["--tool", self.tool] if tool else []
        out = self.folder / "out.json"
        out.unlink(missing_ok=True)
        command = [sys.executable, "-I", str(self.folder / "run.py"), *how, "--json", str(out), *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        results = json.loads(out.read_text("utf-8"))["results"] if out.exists() else []
        return done.returncode, {one["id"]: one for one in results}, done.stdout + done.stderr


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def read(**more: Any) -> dict[str, Any]:
    return {"answer": {"result": "read", **READ, **more}}


def without(weights: dict[str, Any], path: str, field: str) -> dict[str, Any]:
    return {**weights, path: {key: value for key, value in weights[path].items() if key != field}}


def one(suite: Suite, told: Any, *words: str, server: bool = False, **case: Any) -> tuple[str, str]:
    suite.case("c/one", told, **{"expect": READ, **case})
    code, results, text = suite.run(*words, server=server)
    assert code == (0 if results["c/one"]["result"] in ("pass", "unsupported") else 1), text
    return results["c/one"]["result"], results["c/one"]["message"]


# Reading

WRONG: dict[str, tuple[Any, str]] = {
    "a shape": (read(weights={**WEIGHTS, "b": {**WEIGHTS["b"], "shape": [3]}}), "b: shape [3]; wanted [2]"),
    "no shape": (read(weights=without(WEIGHTS, "b", "shape")), "b: no shape in the answer"),
    "a dtype": (read(weights={**WEIGHTS, "b": {**WEIGHTS["b"], "dtype": "float64"}}), 'b: dtype "float64"; wanted "float32"'),
    "a hash": (read(weights={**WEIGHTS, "a": {**WEIGHTS["a"], "sha256": "1" * 64}}), "a: sha256"),
    "one less": (read(weights={"b": WEIGHTS["b"]}), "no weight a"),
    "one more": (read(weights={**WEIGHTS, "c": WEIGHTS["a"]}), "a weight c that is not there"),
    "no weights": ({"answer": {"result": "read", "layout": "weights-h5"}}, "no weights in the answer"),
    "layout": (read(layout="keras-zip"), 'layout "keras-zip"; wanted "weights-h5"'),
    "config": (read(config_sha256="1" * 64), "config_sha256"),
    "names": (read(names={}), 'names {}; wanted {"vars": null}'),
    "metadata": (read(metadata={"a": 1}), "metadata"),
    "refused": ({"answer": {"result": "refused", "code": "H5-001", "message": "no"}}, "refused: H5-001 no"),
    "another result": ({"answer": {"result": "tree", "variables": []}}, "the result 'tree'; wanted 'read'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_to_a_reading_is_a_failure(suite: Suite, name: str) -> None:
    told, words = WRONG[name]
    result, message = one(suite, told)
    assert result == "fail"
    assert message.startswith(words)


def test_a_right_answer_passes_and_what_is_not_told_is_not_compared(suite: Suite) -> None:
    bare = {path: {"shape": weight["shape"], "dtype": None} for path, weight in WEIGHTS.items()}
    suite.case("c/all", read(), expect=READ)
    suite.case("c/bare", {"answer": {"result": "read", "weights": bare}}, expect=READ)
    suite.case("c/other-verdict", read(verdict="invalid"), expect=READ)  # none was asked for
    suite.case("c/warns", {"do": "warn", **read()}, expect=READ)
    for server in (False, True):
        code, results, _ = suite.run(server=server)
        assert code == 0
        assert {it["result"] for it in results.values()} == {"pass"}


def test_order_counts_where_the_case_says_so(suite: Suite) -> None:
    turned = read(weights=dict(reversed(WEIGHTS.items())))
    suite.case("c/any", turned, expect=READ)
    suite.case("c/ordered", turned, expect=READ, ordered=True)
    suite.case("c/right", read(), expect=READ, ordered=True)
    _, results, _ = suite.run()
    assert {name: it["result"] for name, it in results.items()} == {"c/any": "pass", "c/ordered": "fail", "c/right": "pass"}
    assert "another order" in results["c/ordered"]["message"]


@pytest.mark.parametrize(
    "told",
    [
        {"answer": {"result": "read", "weights": [1]}},
        {"answer": {"result": "read", "weights": {"b": 3, "a": None}}},
        {"answer": {"result": "read", "weights": "b"}},
        {"answer": {"result": "magic"}},
        {"answer": {"result": ["read"]}},
        {"answer": {}},
        {"do": "noise"},
    ],
    ids=str,
)
@pytest.mark.parametrize("server", [False, True])
def test_nonsense_is_a_crash_of_the_tool_and_none_of_the_runner(suite: Suite, told: Any, server: bool) -> None:
    assert one(suite, told, "--timeout", "5", server=server)[0] in ("crash", "fail")


@pytest.mark.parametrize("told", [{"answer": "text"}, {"do": "list"}], ids=str)
def test_an_answer_that_is_no_object_is_a_crash(suite: Suite, told: Any) -> None:
    assert one(suite, told)[0] == "crash"


# Refusing

PROBLEM = {"code": "H5-001", "or": ["H5-002"]}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"result": "refused"}, "pass"),
        ({"result": "refused", "code": "H5-001"}, "pass"),
        ({"result": "refused", "code": "H5-002"}, "pass"),
        ({"result": "refused", "codes": ["X1-001", "H5-001"]}, "pass"),
        ({"result": "refused", "code": "H5-003"}, "fail"),
        ({"result": "refused", "verdict": "invalid"}, "fail"),
        ({"result": "refused", "verdict": "unsafe"}, "pass"),
        ({"result": "read", "weights": {}}, "fail"),
        ({"result": "read", "weights": {}, "verdict": "valid"}, "fail"),
        ({"result": "read", "weights": {}, "verdict": "unsafe", "codes": ["H5-001"]}, "pass"),
        ({"result": "unsupported", "reason": "no HDF5"}, "unsupported"),
        ({"result": "refused", "codes": 3}, "crash"),
    ],
    ids=str,
)
def test_a_refusal_is_judged_by_what_it_tells(suite: Suite, answer: Any, result: str) -> None:
    case = {"kind": "reject", "verdict": "unsafe", "problem": PROBLEM, "expect": None}
    assert one(suite, {"answer": answer}, **case)[0] == result


def test_a_verdict_is_no_refusal_where_none_is_asked_for(suite: Suite) -> None:
    told = {"answer": {"result": "read", "weights": {}, "verdict": "unsafe"}}
    assert one(suite, told, kind="reject", problem=PROBLEM, expect=None)[0] == "fail"


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"result": "read", "verdict": "valid"}, "pass"),
        ({"result": "read", "verdict": "invalid"}, "fail"),
        ({"result": "read", "weights": {}}, "unsupported"),
        ({"result": "refused", "verdict": "valid"}, "pass"),
        ({"result": "refused"}, "fail"),
    ],
    ids=str,
)
def test_a_case_of_a_verdict_alone(suite: Suite, answer: Any, result: str) -> None:
    assert one(suite, {"answer": answer}, verdict="valid", expect=None)[0] == result


def test_a_tool_is_not_told_that_it_is_to_refuse(suite: Suite) -> None:
    suite.case("c/reject", {"do": "asked"}, kind="reject", problem=PROBLEM)
    suite.case("c/read", {"do": "asked"}, expect=READ)
    suite.case("c/tree", {"do": "asked"}, kind="tree", expect={"variables": []}, keras="2.12.0")
    for server in (False, True):
        _, results, _ = suite.run(server=server)
        assert {it: results[it]["message"] for it in results} == {"c/read": "read", "c/reject": "read", "c/tree": "tree2.12.0"}


# Trees


@pytest.mark.parametrize(
    ("answer", "ordered", "result"),
    [
        ({"variables": VARIABLES}, True, "pass"),
        ({"variables": VARIABLES[::-1]}, True, "fail"),
        ({"variables": VARIABLES[::-1]}, False, "pass"),
        ({"variables": VARIABLES[:1]}, False, "fail"),
        ({"variables": [*VARIABLES, {"path": "c"}]}, False, "fail"),
        ({"variables": [*VARIABLES, VARIABLES[0]]}, False, "fail"),
        ({"variables": [VARIABLES[0], {"path": "a", "shape": [1]}]}, False, "fail"),
        ({"variables": [{"path": "b"}, {"path": "a", "shape": None}]}, True, "pass"),
        ({"variables": [{"shape": [2]}, {"path": "a"}]}, True, "fail"),
        ({"variables": VARIABLES, "groups": ["x"]}, True, "fail"),
        ({}, True, "crash"),
        ({"variables": 3}, True, "crash"),
    ],
    ids=str,
)
def test_trees_are_compared_by_path_or_in_order(suite: Suite, answer: Any, ordered: bool, result: str) -> None:
    case = {"kind": "tree", "expect": {"variables": VARIABLES, "groups": ["vars"]}} | ({"ordered": True} if ordered else {})
    assert one(suite, {"answer": {"result": "tree", **answer}}, **case)[0] == result


def test_a_tree_of_groups_alone_is_unsupported_by_a_tool_that_tells_none(suite: Suite) -> None:
    suite.case(
        "c/told", {"answer": {"result": "tree", "variables": [], "groups": ["g"]}}, kind="tree", expect={"groups": ["g"]}
    )
    suite.case("c/untold", {"answer": {"result": "tree", "variables": []}}, kind="tree", expect={"groups": ["g"]})
    suite.case("c/refused", {"answer": {"result": "refused"}}, kind="tree", problem=PROBLEM)
    suite.case("c/accepted", {"answer": {"result": "tree", "variables": []}}, kind="tree", problem=PROBLEM)
    _, results, _ = suite.run()
    found = {name.partition("/")[2]: it["result"] for name, it in results.items()}
    assert found == {"told": "pass", "untold": "unsupported", "refused": "pass", "accepted": "fail"}


# Writing


def test_what_is_written_is_looked_at_by_readers(suite: Suite) -> None:
    written = {"answer": {"result": "written"}}
    again = json.dumps(read())  # the output is an input of the reader, which answers what stands in it
    suite.case("c/right", {**written, "write": again}, kind="write", output="o.json", expect=READ)
    suite.case("c/wrong", {**written, "write": json.dumps(read(names={}))}, kind="write", output="o.json", expect=READ)
    suite.case("c/nothing", written, kind="write", output="o.json", expect=READ)
    suite.case("c/refuses", {"answer": {"result": "refused"}}, kind="write", output="o.json", expect=READ)
    suite.case("c/rightly", {"answer": {"result": "refused", "code": "H5-001"}}, kind="write", output="o.json", problem=PROBLEM)
    suite.case("c/accepts", {**written, "write": again}, kind="write", output="o.json", problem=PROBLEM)
    for reader in (("--reader", suite.tool), ("--reader-server", suite.server)):
        _, results, _ = suite.run(*reader)
        assert {name.partition("/")[2]: it["result"] for name, it in results.items()} == {
            "right": "pass",
            "wrong": "fail",
            "nothing": "fail",
            "refuses": "fail",
            "rightly": "pass",
            "accepts": "fail",
        }
        assert "names {}" in results["c/wrong"]["message"]
    _, results, _ = suite.run()
    assert results["c/right"]["result"] == "unsupported"
    assert "no --reader" in results["c/right"]["message"]


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"starts": "7b22"}, ""),
        ({"starts": "00"}, "the first bytes 7b; wanted 00"),
        ({"files": {"o.json": None}, "folders": []}, ""),
        ({"files": {"o.json": None, "p": None}}, "the files o.json; wanted o.json, p"),
        ({"files": {"o.json": "x"}}, "o.json: other bytes"),
        ({"folders": ["f"]}, "the folders ; wanted f"),
        ({"json": {"o.json": read()}}, ""),
        ({"json": {"o.json": {}}}, "o.json: {"),
        ({"members": []}, "no archive"),
        ({"again_after": 0}, ""),
    ],
    ids=str,
)
def test_what_needs_no_reader_is_looked_at_first(suite: Suite, expect: Any, words: str) -> None:
    told = {"answer": {"result": "written"}, "write": json.dumps(read())}
    case = {"kind": "write", "output": "o.json", "expect": {**READ, **expect}}
    result, message = one(suite, told, "--reader", suite.tool, **case)
    assert (result, message[: len(words)]) == ("fail" if words else "pass", words)


# Crashes and hangs


@pytest.mark.parametrize("server", [False, True])
def test_a_crash_a_hang_and_a_refusal_are_three_results(suite: Suite, server: bool) -> None:
    suite.case("c/1-right", read(), expect=READ)
    suite.case("c/2-exit", {"do": "exit"}, expect=READ)
    suite.case("c/3-signal", {"do": "signal"}, expect=READ)
    suite.case("c/4-hang", {"do": "hang"}, expect=READ)
    suite.case("c/5-refusal", {"answer": {"result": "refused"}}, expect=READ)
    suite.case("c/6-still-right", read(), expect=READ)
    began = time.monotonic()
    code, results, text = suite.run("--timeout", "2", "--jobs", "2", server=server)
    assert time.monotonic() - began < 60
    found = {name: it["result"] for name, it in results.items()}
    assert list(found.values()) == ["pass", "crash", "crash", "hang", "fail", "pass"], text
    assert "exit code 3" in results["c/2-exit"]["message"]
    assert "SIGSEGV" in results["c/3-signal"]["message"]
    assert (code, text.splitlines()[-1]) == (1, "6 cases: 2 pass, 1 fail, 2 crash, 1 hang")


@pytest.mark.skipif(sys.platform == "darwin", reason="no cap on the address space")
def test_memory_is_capped(suite: Suite) -> None:
    result, message = one(suite, {"do": "memory", **read()}, "--memory", "1024")
    assert (result, message) == ("crash", "exit code 1: MemoryError")


def test_a_hanging_tool_leaves_no_child_behind(suite: Suite) -> None:
    mark = suite.folder / "alive"
    child = f"import time; time.sleep(4); open({str(mark)!r}, 'w')"
    (suite.folder / "tool.py").write_text(
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)", "utf-8"
    )
    assert one(suite, {}, "--timeout", "1")[0] == "hang"
    time.sleep(4)
    assert not mark.exists()


# Choosing, lists, reports


def test_cases_are_chosen_by_profile_filter_tag_and_kind(suite: Suite) -> None:
    suite.case("a/one", read(), expect=READ, tags=["x:1"])
    suite.case("a/two", read(), expect=READ)
    suite.case("b/one", {"answer": {"result": "refused"}}, kind="reject", problem=PROBLEM)
    for name, ids in (("first", ["a/one"]), ("second", ["b/one"])):
        (suite.folder / f"profiles/{name}.json").write_text(json.dumps({"profile": name, "title": "t", "cases": ids}), "utf-8")

    def listed(*words: str) -> list[str]:
        code, _, text = suite.run("--list", *words, tool=False)
        assert code == 0, text
        return text.split()

    assert listed() == ["a/one", "a/two", "b/one"]
    assert listed("--profile", "first") == ["a/one"]
    assert listed("--profile", "first", "--profile", "second") == ["a/one", "b/one"]
    assert listed("--filter", "a/*") == ["a/one", "a/two"]
    assert listed("--filter", "x:1") == ["a/one"]
    assert listed("--kind", "reject") == ["b/one"]
    for words in (("--filter", "c/*"), ("--profile", "third")):
        code, _, text = suite.run("--list", *words, tool=False)
        assert code == 2, text


def test_expected_failures_and_what_unexpectedly_passes(suite: Suite) -> None:
    suite.case("c/right", read(), expect=READ)
    suite.case("c/wrong", read(names={}), expect=READ)
    known = suite.folder / "known.txt"
    words = ("--expected-failures", str(known))
    known.write_text("# a list\nc/wrong  # an old bug\n", "utf-8")
    code, results, text = suite.run(*words)
    assert (code, text) == (0, "2 cases: 1 pass, 1 fail (1 of the failures expected)\n")
    known.write_text("c/wrong\nc/right\n", "utf-8")
    code, results, text = suite.run(*words)
    assert (code, "unexpectedly passes c/right" in text) == (1, True)
    assert not results["c/right"]["expected"]
    known.write_text("c/gone\n", "utf-8")
    code, _, text = suite.run(*words)
    assert (code, "c/gone" in text) == (2, True)


def test_junit_is_well_formed_whatever_a_tool_says(suite: Suite) -> None:
    suite.case("c/right", read(), expect=READ)
    suite.case("c/wrong", {"answer": {"result": "refused", "message": "<&\x00\x1b\ud800]]>"}}, expect=READ)
    suite.case("c/none", {"answer": {"result": "unsupported", "reason": "no"}}, expect=READ)
    suite.case("c/known", read(names={}), expect=READ)
    (suite.folder / "known.txt").write_text("c/known\n", "utf-8")
    out = suite.folder / "out.xml"
    code, _, _ = suite.run("--junit", str(out), "--expected-failures", str(suite.folder / "known.txt"))
    found = xml.parse(out).getroot()
    assert code == 1
    assert {key: found.get(key) for key in ("tests", "failures", "skipped")} == {"tests": "4", "failures": "1", "skipped": "2"}
    inner = {case.get("name"): [child.tag for child in case] for case in found.iter("testcase")}
    assert inner == {"known": ["skipped"], "none": ["skipped"], "right": [], "wrong": ["failure"]}


def test_json_says_what_was_run(suite: Suite) -> None:
    suite.case("c/right", read(), expect=READ)
    suite.run("--kind", "read")
    found = json.loads((suite.folder / "out.json").read_text("utf-8"))
    assert (found["format"], found["format_version"], found["tool"]) == ("conformance-results", 1, suite.tool)
    assert found["counts"] == {"pass": 1, "fail": 0, "crash": 0, "hang": 0, "unsupported": 0}
    assert [(it["id"], it["kind"], it["result"], it["expected"]) for it in found["results"]] == [
        ("c/right", "read", "pass", True)
    ]


def test_a_run_that_cannot_be_done_is_no_result(suite: Suite) -> None:
    code, _, text = suite.run("--list", tool=False)
    assert (code, "no cases in" in text) == (2, True)
    suite.case("c/right", read(), expect=READ)
    for words in (("--tool", "/no/such/tool"), ("--server", "/no/such/tool")):
        code, _, text = suite.run(*words, tool=False)
        assert (code, "/no/such/tool" in text) == (2, True)
    (suite.folder / "cases/c/right/case.json").write_text('{"id": "c/left", "kind": "read"}', "utf-8")
    code, _, text = suite.run("--list", tool=False)
    assert (code, "its id is not its place" in text) == (2, True)


# Alone


def test_the_runner_needs_the_standard_library_only() -> None:
    tree = ast.parse((CONFORMANCE / "run.py").read_text("utf-8"))
    names = {alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names - set(sys.stdlib_module_names) == set()


def test_the_suite_runs_from_a_copy_elsewhere_without_refser(tmp_path: Path) -> None:
    """With a reader of four lines, which finds out that a file is no HDF5 and no zip."""
    copy = tmp_path / "suite"
    shutil.copytree(CONFORMANCE / "cases", copy / "cases", symlinks=True)
    shutil.copytree(CONFORMANCE / "profiles", copy / "profiles")
    shutil.copy(CONFORMANCE / "run.py", copy / "run.py")
    tool = tmp_path / "tool.py"
    tool.write_text(
        "import json, sys\n"
        "start = open(sys.argv[1], 'rb').read(4)\n"
        "known = start in (b'\\x89HDF', b'PK\\x03\\x04')\n"
        "print(json.dumps({'result': 'unsupported'} if known else {'result': 'refused'}))\n",
        "utf-8",
    )
    command = [sys.executable, "-I", "-S", "run.py", "--tool", f"{PYTHON} {tool} {{input}}", "--profile", "core-reader"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=copy, env=clean)
    total = len(json.loads((copy / "profiles/core-reader.json").read_text("utf-8"))["cases"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{total} cases: ")
    probe = subprocess.run([sys.executable, "-I", "-S", "-c", "import refser"], capture_output=True, cwd=copy, env=clean)
    assert probe.returncode != 0
