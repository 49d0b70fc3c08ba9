#!/usr/bin/env python3
"""Run a tool over the cases of the conformance suite for the Keras model formats.

    python run.py --tool "my-reader {input}"                  one process for each case
    python run.py --server "my-reader --serve"                one process, a JSON object a line each way
    python run.py --tool "..." --profile core-reader --filter 'keras-zip/*' --junit out.xml

Standard library only; copy this file and cases/ and profiles/ beside it.  What a tool has to print: PROTOCOL.md.
Exit codes: 0 as expected, 1 not as expected, 2 the run itself could not be done.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as xml
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITE = "1.0"
KINDS = ("read", "reject", "tree", "write")
OUTPUT_MAX = 64 << 20  # bytes of one answer
FILE_MAX = 1 << 30  # bytes of one file that a tool writes, its answer included
START = 120.0  # seconds more for the first answer of a server; once it has started, twice what that took
# How one case ends.  Only "pass" and "unsupported" are no fault of the tool.
PASS, FAIL, CRASH, HANG, UNSUPPORTED = "pass", "fail", "crash", "hang", "unsupported"
NOT_FAILED = {PASS: "passes", UNSUPPORTED: "unsupported"}


class Trouble(Exception):
    """The run cannot be done; the message is for whoever started it."""


# Cases


def read_cases(folder: Path) -> dict[str, dict]:
    """Every case by its id, `chapter/slug`, with the folder it stands in."""
    found = {}
    for path in sorted(folder.glob("*/*/case.json")):
        case = json.loads(path.read_text("utf-8"))
        case["folder"] = path.parent
        if case["id"] != f"{path.parent.parent.name}/{path.parent.name}" or case["kind"] not in KINDS:
            raise Trouble(f"{path}: its id is not its place, or its kind is none of {', '.join(KINDS)}")
        found[case["id"]] = case
    if not found:
        raise Trouble(f"no cases in {folder}")
    return found


def chosen(cases: dict[str, dict], profiles: list[str], filters: list[str], kinds: list[str]) -> list[dict]:
    ids, wanted = set(cases), set()
    for name in profiles:
        path = HERE / "profiles" / f"{name}.json"
        if not path.exists():
            known = ", ".join(sorted(it.stem for it in path.parent.glob("*.json")))
            raise Trouble(f"no profile {name!r}; there are {known}")
        wanted |= set(json.loads(path.read_text("utf-8"))["cases"])
    if profiles:
        ids &= wanted
    if filters:
        ids = {
            it
            for it in ids
            if any(fnmatch.fnmatchcase(it, pattern) or pattern in cases[it].get("tags", ()) for pattern in filters)
        }
    found = [cases[it] for it in sorted(ids) if not kinds or cases[it]["kind"] in kinds]
    if not found:
        raise Trouble("no case is left: see --profile, --filter and --kind")
    return found


# What a tool answered, against what the case wants


def judge(case: dict, answer: dict) -> tuple[str, str]:
    """The result, and in words what is wrong."""
    try:
        return judged(case, answer)
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        return CRASH, f"an answer that is not as PROTOCOL.md says: {type(error).__name__}: {error}"


def judged(case: dict, answer: dict) -> tuple[str, str]:
    result = answer.get("result")
    if result == "unsupported":
        return UNSUPPORTED, str(answer.get("reason", ""))
    if result not in ("read", "refused", "tree", "written"):
        return CRASH, f"an answer whose result is {short(result)}"
    if "problem" in case:
        return judge_refusal(case, answer)
    kind, verdict = case["kind"], answer.get("verdict")
    if kind == "read" and "expect" not in case and verdict is not None:  # only the verdict is asked for
        return (PASS, "") if verdict == case["verdict"] else (FAIL, f"the verdict {short(verdict)}; wanted {case['verdict']!r}")
    if result == "refused":
        return FAIL, f"refused: {answer.get('code', '')} {answer.get('message', '')}".strip()
    wanted = {"read": "read", "tree": "tree", "write": "written"}[kind]
    if result != wanted:
        return FAIL, f"the result {result!r}; wanted {wanted!r}"
    if kind == "write":
        return PASS, ""
    expect = json.loads((case["folder"] / case["expect"]).read_text("utf-8")) if "expect" in case else {}
    return judge_reading(case, expect, answer) if kind == "read" else judge_tree(case, expect, answer)


def judge_refusal(case: dict, answer: dict) -> tuple[str, str]:
    """Refused, or read and given the verdict that something is wrong."""
    verdict, code = answer.get("verdict"), answer.get("code")
    sees = answer["result"] == "read" and "verdict" in case and verdict not in (None, "valid")
    if answer["result"] != "refused" and not sees:
        return FAIL, f"accepted; wanted a refusal ({case['problem']['code']}: {case['title']})"
    if verdict is not None and "verdict" in case and verdict != case["verdict"]:
        return FAIL, f"the verdict {short(verdict)}; wanted {case['verdict']!r}"
    codes = answer.get("codes", [code] if code else [])
    if codes and not {case["problem"]["code"], *case["problem"].get("or", ())} & set(codes):
        return FAIL, f"the code {', '.join(codes)}; wanted {case['problem']['code']}"
    return PASS, ""


def judge_reading(case: dict, expect: dict, answer: dict) -> tuple[str, str]:
    """Every field that the tool gives is compared; weights it has to give, or a verdict where one is asked for."""
    verdict, found = answer.get("verdict"), answer.get("weights")
    judges = verdict is not None and "verdict" in case
    if judges and verdict != case["verdict"]:
        return FAIL, f"the verdict {short(verdict)}; wanted {case['verdict']!r}"
    for field in ("layout", "config_sha256", "assets", "metadata", "names"):
        if answer.get(field) is not None and field in expect and answer[field] != expect[field]:
            return FAIL, f"{field} {short(answer[field])}; wanted {short(expect[field])}"
    if "weights" not in expect:
        return (PASS, "") if judges or "verdict" not in case else (UNSUPPORTED, "no verdict in the answer")
    if found is None:
        return (PASS, "") if judges else (FAIL, "no weights in the answer")
    for path, weight in expect["weights"].items():
        if path not in found:
            return FAIL, f"no weight {path}"
        if "shape" not in found[path]:
            return FAIL, f"{path}: no shape in the answer"
        for field in ("shape", "dtype", "sha256"):
            if found[path].get(field) is not None and found[path][field] != weight[field]:
                return FAIL, f"{path}: {field} {short(found[path][field])}; wanted {short(weight[field])}"
    if more := [path for path in found if path not in expect["weights"]]:
        return FAIL, f"a weight {more[0]} that is not there"
    if case.get("ordered") and list(found) != list(expect["weights"]):
        return FAIL, "the weights in another order than that of the file"
    return PASS, ""


def judge_tree(case: dict, expect: dict, answer: dict) -> tuple[str, str]:
    """Variables by inner path, and in order where the case is ordered; what the tool does not tell is not compared."""
    compared = False
    for field in ("groups", "opaque"):
        if field in expect and answer.get(field) is not None:
            compared = True
            if answer[field] != expect[field]:
                return FAIL, f"{field} {short(answer[field])}; wanted {short(expect[field])}"
    if "variables" not in expect:
        return (PASS, "") if compared else (UNSUPPORTED, f"no {' or '.join(expect)} in the answer")
    found, wanted = answer["variables"], expect["variables"]
    if not case.get("ordered"):
        by_path = {variable["path"]: variable for variable in found}
        if missing := [want["path"] for want in wanted if want["path"] not in by_path]:
            return FAIL, f"no variable {missing[0]}"
        if len(by_path) == len(found) == len(wanted):
            found = [by_path[want["path"]] for want in wanted]
    for number, want in enumerate(wanted):
        if number >= len(found):
            return FAIL, f"{len(found)} variables; wanted {len(wanted)}, then {short(want)}"
        if "path" in want and "path" not in found[number]:
            return FAIL, f"variable {number}: no path in the answer"
        for field, value in want.items():
            if found[number].get(field) is not None and found[number][field] != value:
                return FAIL, f"variable {number}: {field} {short(found[number][field])}; wanted {short(value)}"
    if len(found) > len(wanted):
        return FAIL, f"{len(found)} variables; wanted {len(wanted)}"
    return PASS, ""


def short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


# Tools


class Command:
    """One process for each case: the command, with {input}, {output}, {kind}, {keras} and {case} filled in."""

    def __init__(self, command: str, options: argparse.Namespace) -> None:
        self.words = shlex.split(command)
        self.timeout, self.memory = options.timeout, options.memory
        if not any("{input}" in word or "{case}" in word for word in self.words):
            self.words.append("{input}")

    def ask(self, case: dict, output: str) -> tuple[str, str, dict]:
        """How it ended ("" for an answer), in words, and the answer."""
        names = {
            "{input}": str(case["folder"] / case["input"]),
            "{output}": output,
            "{kind}": asked_kind(case),
            "{keras}": case.get("keras", ""),
            "{case}": str(case["folder"] / "case.json"),
        }
        words = [replaced(word, names) for word in self.words]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=os.name == "posix",
                    preexec_fn=self._limit if os.name == "posix" else None,
                )
            except OSError as error:
                raise Trouble(f"{words[0]}: {error.strerror or error}") from error
            try:
                code = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                kill(process)
                return HANG, f"no end after {self.timeout:g} s", {}
            out.seek(0)
            text = out.read(OUTPUT_MAX + 1)
            err.seek(0, os.SEEK_END)
            err.seek(max(0, err.tell() - 2000))
            last = err.read().decode("utf-8", "replace").strip().splitlines()
        if code:
            return CRASH, f"{ending(code)}{': ' + last[-1][:200] if last else ''}", {}
        return (
            ("", "", answer)
            if (answer := parsed(text)) is not None
            else (CRASH, f"no JSON object on standard output: {text[:80]!r}", {})
        )

    def _limit(self) -> None:
        import resource

        if self.memory:
            resource.setrlimit(resource.RLIMIT_AS, (self.memory << 20,) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MAX,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def close(self) -> None:
        return


class Server:
    """One process for all cases.  After a crash or a hang a new one is started."""

    def __init__(self, command: str, options: argparse.Namespace) -> None:
        self.words, self.timeout, self.memory = shlex.split(command), options.timeout, options.memory
        self.process: subprocess.Popen | None = None
        self.lines: queue.Queue = queue.Queue()
        self.fresh, self.start = False, START
        self.one_at_a_time = threading.Lock()

    def _start(self) -> subprocess.Popen:
        if self.process is None or self.process.poll() is not None:
            try:
                self.process = subprocess.Popen(
                    self.words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=os.name == "posix",
                    preexec_fn=(lambda: Command._limit(self)) if os.name == "posix" else None,
                )
            except OSError as error:
                raise Trouble(f"{self.words[0]}: {error.strerror or error}") from error
            self.lines, self.fresh = queue.Queue(), True
            threading.Thread(target=self._listen, args=(self.process, self.lines), daemon=True).start()
        return self.process

    @staticmethod
    def _listen(process: subprocess.Popen, lines: queue.Queue) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := process.stdout.readline(OUTPUT_MAX):
                if line.lstrip().startswith(b"{"):  # libraries greet and warn
                    lines.put(line)
        lines.put(None)

    def ask(self, case: dict, output: str) -> tuple[str, str, dict]:
        with self.one_at_a_time:
            return self._ask(case, output)

    def _ask(self, case: dict, output: str) -> tuple[str, str, dict]:
        process = self._start()
        question = {"id": case["id"], "kind": asked_kind(case), "input": str(case["folder"] / case["input"]), "output": output}
        question |= {"keras": case["keras"]} if "keras" in case else {}
        fresh, self.fresh, began = self.fresh, False, time.monotonic()
        seconds = self.timeout + (self.start if fresh else 0)
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            kill(process)
            return HANG, f"no answer after {seconds:g} s", {}
        except OSError:
            line = None
        if line is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            code = process.poll()
            kill(process)
            return CRASH, f"the server ended, {ending(code)}" if code is not None else "the server closed its output", {}
        if fresh:
            self.start = min(START, 1 + 2 * (time.monotonic() - began))
        answer = parsed(line)
        if answer is None or answer.get("id", case["id"]) != case["id"]:
            kill(process)
            return CRASH, f"no answer to {case['id']}: {line[:80]!r}", {}
        return "", "", answer

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                kill(self.process)


def asked_kind(case: dict) -> str:
    """What a tool is asked to do: whether a file is to be refused, it finds out itself."""
    return "read" if case["kind"] == "reject" else case["kind"]


def ending(code: int) -> str:
    if code < 0 and -code in signal.valid_signals():
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def kill(process: subprocess.Popen) -> None:
    """The process and what it started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
    process.wait()


def replaced(word: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        word = word.replace(name, value)
    return word


def parsed(text: bytes) -> dict | None:
    """The last line that is a JSON object: tools greet and warn."""
    if len(text) > OUTPUT_MAX:
        return None
    try:
        whole = json.loads(text)
        return whole if isinstance(whole, dict) else None
    except ValueError:
        pass
    for line in reversed(text.splitlines()):
        if line.lstrip().startswith(b"{"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            return found if isinstance(found, dict) else None
    return None


# Running


def run_case(tool, case: dict, readers: list, work: Path) -> dict:
    start = time.monotonic()
    output = new_place(case, work, "first") if case["kind"] == "write" else ""
    how, words, answer = tool.ask(case, output)
    if not how:
        how, words = judge(case, answer)
    if how == PASS and case["kind"] == "write" and "problem" not in case:
        how, words = judge_written(tool, case, output, readers, work)
    return {
        "id": case["id"],
        "kind": case["kind"],
        "result": how,
        "message": clean(words),
        "seconds": round(time.monotonic() - start, 3),
    }


def new_place(case: dict, work: Path, name: str) -> str:
    folder = work / f"{case['id'].replace('/', '-')}-{name}"
    folder.mkdir()
    return str(folder / case["output"])


def judge_written(tool, case: dict, output: str, readers: list, work: Path) -> tuple[str, str]:
    """What the tool wrote: what can be seen without a reader, then what each reader finds in it."""
    if not os.path.exists(output):
        return FAIL, "nothing was written"
    expect = json.loads((case["folder"] / case["expect"]).read_text("utf-8"))
    if wrong := seen_in(expect, Path(output)):
        return FAIL, wrong
    if "again_after" in expect:
        time.sleep(expect["again_after"])
        again = new_place(case, work, "again")
        how, words, answer = tool.ask(case, again)
        if how or answer.get("result") != "written" or not os.path.isfile(again):
            return how or FAIL, words or "not written a second time"
        if Path(again).read_bytes() != Path(output).read_bytes():
            return FAIL, "the same model written again gives other bytes"
    if not readers:
        return UNSUPPORTED, "written, and no --reader to look at it"
    for reader in readers:
        asked = {**case, "kind": "read", "folder": Path(os.path.dirname(output)), "input": os.path.basename(output)}
        how, words, answer = reader.ask(asked, "")
        if not how:
            how, words = judge({**case, "kind": "read"}, answer)
        if how == UNSUPPORTED:
            continue
        if how != PASS:
            return FAIL, f"{' '.join(reader.words)}: {how}: {words}"
    return PASS, ""


def seen_in(expect: dict, output: Path) -> str:
    """What is wrong with a written file: its first bytes, its members, the files beside it, a JSON text."""
    beside = output.parent
    if "starts" in expect and not output.read_bytes().hex().startswith(expect["starts"]):
        return f"the first bytes {output.read_bytes()[: len(expect['starts']) // 2].hex()}; wanted {expect['starts']}"
    if "members" in expect:
        try:
            with zipfile.ZipFile(output) as archive:
                members = [shown(info) for info in archive.infolist()]
        except (OSError, zipfile.BadZipFile) as error:
            return f"no archive: {error}"
        if members != expect["members"]:
            return f"the members {json.dumps(members)}; wanted {json.dumps(expect['members'])}"
    entries = {entry.relative_to(beside).as_posix(): entry for entry in sorted(beside.rglob("*"))}
    if "files" in expect:
        files = sorted(name for name, entry in entries.items() if entry.is_file())
        if files != sorted(expect["files"]):
            return f"the files {', '.join(files)}; wanted {', '.join(sorted(expect['files']))}"
        for name, text in expect["files"].items():
            if text is not None and entries[name].read_bytes() != text.encode():
                return f"{name}: other bytes than {short(text)}"
    folders = sorted(name for name, entry in entries.items() if entry.is_dir())
    if "folders" in expect and folders != expect["folders"]:
        return f"the folders {', '.join(folders)}; wanted {', '.join(expect['folders'])}"
    for name, value in expect.get("json", {}).items():
        found = parsed(entries[name].read_bytes()) if name in entries else None
        if found != value:
            return f"{name}: {short(found)}; wanted {short(value)}"
    return ""


def shown(info: zipfile.ZipInfo) -> dict:
    date = "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*info.date_time)
    return {"name": info.filename, "method": info.compress_type, "date": date, "mode": f"{info.external_attr >> 16:o}"}


def expected_failures(path: str | None) -> dict[str, str]:
    """Ids of cases that the tool is known to fail, one a line, the reason behind a #."""
    found = {}
    for line in Path(path).read_text("utf-8").splitlines() if path else ():
        name, _, reason = line.partition("#")
        if name.strip():
            found[name.strip()] = reason.strip()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--tool", metavar="CMD", help="run for each case; {input} {output} {kind} {keras} {case} are filled in")
    which.add_argument("--server", metavar="CMD", help="started once; a JSON object a line on standard input and output")
    which.add_argument("--list", action="store_true", help="print the ids of the cases chosen")
    parser.add_argument(
        "--reader", metavar="CMD", action="append", default=[], help="reads what the tool wrote; may be repeated"
    )
    parser.add_argument(
        "--reader-server", metavar="CMD", action="append", default=[], help="the same, started once, as --server is"
    )
    parser.add_argument(
        "--profile", action="append", default=[], metavar="NAME", help="only the cases of profiles/NAME.json; may be repeated"
    )
    parser.add_argument("--filter", action="append", default=[], metavar="PATTERN", help="only ids like keras-zip/*, or a tag")
    parser.add_argument("--kind", action="append", default=[], choices=KINDS, help="only cases of this kind")
    parser.add_argument("--expected-failures", metavar="FILE", help="ids that the tool fails; one that passes is an error")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds for one case (30)")
    parser.add_argument("--memory", type=int, default=0, metavar="MB", help="address space of the tool (no cap)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="cases side by side (all cores)")
    parser.add_argument("--json", metavar="FILE", help="results as JSON")
    parser.add_argument("--junit", metavar="FILE", help="results as JUnit XML")
    parser.add_argument("--cases", type=Path, default=HERE / "cases", metavar="DIR", help="where the cases are")
    parser.add_argument("--verbose", action="store_true", help="a line for each case, not only for the faults")
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    try:
        return run(options)
    except Trouble as trouble:
        print(f"run.py: {trouble}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run(options: argparse.Namespace) -> int:
    every = read_cases(options.cases)
    cases = chosen(every, options.profile, options.filter, options.kind)
    if options.list:
        print("\n".join(case["id"] for case in cases))
        return 0
    known = expected_failures(options.expected_failures)
    if gone := sorted(set(known) - set(every)):
        raise Trouble(f"{options.expected_failures}: no cases: {', '.join(gone)}")
    readers = [Command(command, options) for command in options.reader]
    readers += [Server(command, options) for command in options.reader_server]
    tool = Server(options.server, options) if options.server else Command(options.tool, options)
    work = Path(tempfile.mkdtemp(prefix="conformance-"))
    try:
        with ThreadPoolExecutor(1 if options.server else max(1, options.jobs)) as pool:
            futures = [pool.submit(run_case, tool, case, readers, work) for case in cases]
            try:
                results = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        for one in (tool, *readers):
            one.close()
        shutil.rmtree(work, ignore_errors=True)
    return report(results, known, options)


def report(results: list[dict], known: dict[str, str], options: argparse.Namespace) -> int:
    """The faults, a line each, and the sum.  A case on the list of expected failures that does not fail is a fault."""
    counts = dict.fromkeys((PASS, FAIL, CRASH, HANG, UNSUPPORTED), 0)
    for one in results:
        counts[one["result"]] += 1
        one["expected"] = (one["id"] in known) == (one["result"] in (FAIL, CRASH, HANG))
        if options.verbose or not one["expected"]:
            note = one["result"] if one["expected"] or one["id"] not in known else f"unexpectedly {NOT_FAILED[one['result']]}"
            print(f"{note:<12} {one['id']}{': ' + one['message'] if one['message'] else ''}")
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    expected = sum(one["id"] in known and one["expected"] for one in results)
    print(f"{len(results)} cases: {', '.join(parts)}{f' ({expected} of the failures expected)' if expected else ''}")
    if options.json:
        chosen_by = {"profiles": options.profile, "filters": options.filter, "kinds": options.kind}
        summary = {"format": "conformance-results", "format_version": 1, "suite": SUITE, "tool": options.tool or options.server}
        text = json.dumps({**summary, **chosen_by, "counts": counts, "results": results}, indent=1)
        Path(options.json).write_text(text + "\n", "utf-8")
    if options.junit:
        write_junit(results, Path(options.junit))
    return 0 if all(one["expected"] for one in results) else 1


def write_junit(results: list[dict], path: Path) -> None:
    bad = sum(not one["expected"] for one in results)
    skipped = sum(one["expected"] and one["result"] != PASS for one in results)
    seconds = f"{sum(one['seconds'] for one in results):.3f}"
    numbers = {"tests": str(len(results)), "failures": str(bad), "errors": "0", "skipped": str(skipped), "time": seconds}
    suite = xml.Element("testsuite", name="conformance", **numbers)
    for one in results:
        chapter, _, slug = one["id"].partition("/")
        case = xml.SubElement(suite, "testcase", classname=chapter, name=slug, time=str(one["seconds"]))
        if not one["expected"]:
            xml.SubElement(case, "failure", type=one["result"], message=clean(f"{one['result']}: {one['message']}"))
        elif one["result"] != PASS:
            xml.SubElement(case, "skipped", message=clean(f"{one['result']}: {one['message']}"))
    xml.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def clean(text: str) -> str:
    """Without what XML cannot hold or a terminal obeys."""
    return "".join(char if char in "\t\n" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" else "?" for char in text)


if __name__ == "__main__":
    sys.exit(main())
