#!/usr/bin/env python3
"""Run the suite over the tools of tools.json and adapters/node/tools.json, and write RESULTS.md.

    python conformance/results.py                        all tools, each in an environment of its own
    python conformance/results.py "h5py 3.16.0"          only this one; the others as they came out last time
    python conformance/results.py --table                no run: RESULTS.md anew from the last results and findings.json

Environments and results are kept in --cache.  Standard library only.  Not here: what a case asks (run.py), what a tool
answers (adapters/), what the failures mean (findings.json).
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NODE = HERE / "adapters" / "node"
TIMEOUT, MEMORY = 20, 8000  # seconds for one case, MiB of address space
COLUMNS = ("pass", "fail", "crash", "hang", "unsupported")
ORDER = ("core-reader", "full-reader", "weight-trees", "writer", "canonical-writer", "validator", "hostile", "unusual/*")
PINS = ("package-lock.json", "package.json", "netron.txt")
SHOWN = 3  # cases of a finding
Json = dict[str, Any]


def tools() -> list[Json]:
    found = json.loads((HERE / "tools.json").read_text("utf-8"))
    if (NODE / "tools.json").exists():
        for tool in json.loads((NODE / "tools.json").read_text("utf-8")):
            name = f"{tool['name']} {tool['version']}"
            found.append({**tool, "name": name, "kind": "reader", "folder": NODE, "cannot": tool.get("notes", "")})
    return found


# Environments


def find_python(version: str) -> str:
    """The first interpreter of this version that runs: this one, one on the PATH, one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in (
        sys.executable,
        shutil.which(f"python{version}"),
        *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))),
    ):
        if candidate is None:
            continue
        command = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.stdout.strip() == version:
            return candidate
    raise RuntimeError(f"no Python {version} found")


def checked(command: list[str], folder: Path = HERE) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise RuntimeError(f"{' '.join(command[:4])}: {last[-1][:200]}")


def prepared(tool: Json, cache: Path) -> str:
    """Its environment, made if it is not there or of other pins; the Python in it."""
    if "setup" in tool:
        set_up(tool, cache)
    if "python" not in tool:
        return sys.executable
    known = {it["name"]: it for it in tools()}
    owner = known[tool["environment"]] if "environment" in tool else tool
    folder = cache / owner["name"].replace(" ", "-").replace(",", "")
    python, stamp = folder / "bin" / "python", folder / "pins.txt"
    pins = [word for pin in owner["pins"] for word in pin.split()]
    wanted = "\n".join(pins)
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        checked([find_python(owner["python"]), "-m", "venv", str(folder)])
        checked([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins])
        stamp.write_text(wanted, "utf-8")
    return str(python)


def set_up(tool: Json, cache: Path) -> None:
    """The commands of a tool in its folder, unless they were run for the same pins."""
    for line in tool["setup"]:
        pins = "".join(it.read_text("utf-8") for it in sorted(tool["folder"].iterdir()) if it.name in PINS)
        stamp = cache / f"setup-{hashlib.sha256((line + pins).encode()).hexdigest()[:16]}"
        if not stamp.exists() or not ((tool["folder"] / "node_modules").exists() and (tool["folder"] / "vendor").exists()):
            checked(shlex.split(line), tool["folder"])
            stamp.touch()


# Running


def run(tool: Json, cache: Path) -> Json:
    """The results by profile; `not_run` where there is no way to run it."""
    found: Json = {"name": tool["name"], "profiles": {}}
    try:
        python = prepared(tool, cache)
    except (RuntimeError, OSError) as error:
        return {**found, "not_run": str(error)}
    command = tool["server"].replace("{python}", shlex.quote(python))
    out = cache / "out.json"
    for profile in tool["profiles"]:
        if "/" not in profile and not (HERE / "profiles" / f"{profile}.json").exists():
            continue
        out.unlink(missing_ok=True)
        words = [sys.executable, str(HERE / "run.py"), "--server", command, "--json", str(out), "--timeout", str(TIMEOUT)]
        words += ["--filter" if "/" in profile else "--profile", profile]
        words += ["--memory", str(MEMORY)] if "folder" not in tool else []  # Node maps far more than it uses
        if "writer" in profile:
            words += [word for reader in readers(tool, cache) for word in ("--reader-server", reader)]
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
        compiled = {
            "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        env = {**os.environ, **quiet, **compiled, **tool.get("env", {})}
        done = subprocess.run(words, cwd=tool.get("folder", HERE), env=env, capture_output=True, text=True, check=False)
        if not out.exists():
            last = done.stderr.strip().splitlines() or ["no message"]
            return {**found, "not_run": last[-1][:200]}
        results = json.loads(out.read_text("utf-8"))["results"]
        found["profiles"][profile] = [{key: it[key] for key in ("id", "result", "message")} for it in results]
        print(f"{tool['name']}: {profile}: {dict(Counter(it['result'] for it in results))}", flush=True)
    return found


def readers(tool: Json, cache: Path) -> list[str]:
    """Who reads what a writer wrote: refser; what refser wrote, the others."""
    names = ("h5py 3.16.0", "Keras 3.15.1") if tool["name"] == "refser" else ("refser",)
    found = [it for it in tools() if it["name"] in names]
    commands = [it["server"].replace("{python}", shlex.quote(prepared(it, cache))) for it in found]
    return [command + (" --told-dtypes" if "h5py_tool" in command else "") for command in commands]


# The report


def table(found: list[Json], known: list[Json]) -> list[str]:
    lines = ["| tool | profile | cases | passed | failed | crashed | hung | unsupported |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    by_name = {it["name"]: it for it in found}
    for tool in known:
        one = by_name.get(tool["name"], {"not_run": "no result yet", "profiles": {}})
        if "not_run" in one:
            lines.append(f"| {tool['name']} | not run: {one['not_run'].replace('|', '/')} | | | | | | |")
        for profile in sorted(one["profiles"], key=lambda it: (ORDER.index(it) if it in ORDER else len(ORDER), it)):
            results = one["profiles"][profile]
            counts = Counter(it["result"] for it in results)
            cells = " | ".join(str(counts[it]) for it in COLUMNS)
            lines.append(f"| {tool['name']} | `{profile}` | {len(results)} | {cells} |")
    return lines


def outcomes(found: list[Json]) -> dict[tuple[str, str], Json]:
    return {(one["name"], it["id"]): it for one in found for results in one["profiles"].values() for it in results}


def told(message: str) -> str:
    """A message without what is of this machine or of one run."""
    text = " ".join(message.split()).replace("`", "'").replace(f"{HERE}/", "")
    text = re.sub(r"/\S*/tmp\w{8}/|/\S*/(?:case|conformance|keras-home)-\w{8}/?", ".../", text)
    text = re.sub(r"(/[\w.-]+)+/site-packages/", "", text)
    return text if len(text) <= 200 else f"{text[:197]}..."


def finding(number: int, about: Json, seen: dict[tuple[str, str], Json]) -> list[str]:
    lines = [f"### {number}. {about['title']}", ""]
    lines += [f"- **Tool:** {', '.join(about['tools'])}"]
    lines += [f"- **Done:** {about['done']}", f"- **Expected:** {about['expected']}", f"- **Happened:** {about['happened']}"]
    shown = []
    for (tool, case), it in seen.items():
        if tool not in about["tools"] or it["result"] not in ("fail", "crash", "hang"):
            continue
        if "unlike" in about and seen.get((about["unlike"], case), {}).get("result") != "pass":
            continue
        if any(fnmatch.fnmatchcase(case, pattern) for pattern in about["cases"]) and about.get("message", "") in it["message"]:
            shown.append(f"  - `{case}`, {tool}: {it['result']}: `{told(it['message'])}`")
    if shown:
        lines += ["- **Seen:**", *shown[:SHOWN]]
        lines += [f"  - and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
    elif "by_hand" in about:
        lines += [
            "- **Seen:** by hand, no case asks for it:",
            "",
            "  ```python",
            *(f"  {it}" for it in about["by_hand"]),
            "  ```",
        ]
    else:
        lines += ["- **Seen:** not in the last run"]
        print(f"findings.json: {about['title']!r} is not seen in the last run", file=sys.stderr)
    return [*lines, ""]


def by_reason(found: list[Json], known: list[Json]) -> list[str]:
    """Every failure, the ids of one tool and result together by chapter."""
    lines = []
    by_name = {it["name"]: it for it in found}
    for tool in known:
        results = {it["id"]: it for rows in by_name.get(tool["name"], {"profiles": {}})["profiles"].values() for it in rows}
        bad = [it for it in results.values() if it["result"] in ("fail", "crash", "hang")]
        if not bad:
            continue
        lines += [f"### {tool['name']}", ""]
        chapters: dict[tuple[str, str], list[str]] = {}
        for it in sorted(bad, key=lambda one: str(one["id"])):
            chapter, _, slug = it["id"].partition("/")
            chapters.setdefault((it["result"], chapter), []).append(slug)
        lines += [f"- {result}, `{chapter}` ({len(ids)}): {', '.join(ids)}" for (result, chapter), ids in chapters.items()]
        lines += [""]
    return lines


def report(found: list[Json]) -> str:
    known = tools()
    findings = json.loads((HERE / "findings.json").read_text("utf-8"))
    seen = outcomes(found)
    lines = [
        "# Results",
        "",
        "What came out when the suite was run on these tools. Made by `make conformance`; the texts below the table are in",
        "`findings.json`. A tool is asked for the profiles that it is for. *Unsupported* is no fault; what each cannot do",
        "stands in the second table. A refusal counts as right for a file that is to be refused, whatever its reason.",
        "A *crash* is the end of the process, or memory that ran out.",
        "",
        f"A case has at most {TIMEOUT} s, and {MEMORY} MiB of addresses but in Node. Of the tools in Python, refser apart,",
        "each case is answered by a process of its own.",
        "What a writer wrote is read by refser; what refser wrote, by h5py and Keras. `unusual/*` are sound files, on which a",
        "scanner raises a false alarm or does not.",
        "",
        *table(found, known),
        "",
        "| tool | what it is | what it cannot do |",
        "|---|---|---|",
        *(f"| {tool['name']} | {tool['kind']} | {tool['cannot']} |" for tool in known),
        "",
        "## What the failures are",
        "",
        "Each is described so that it can be reported.",
        "",
    ]
    for number, about in enumerate(findings, 1):
        lines += finding(number, about, seen)
    lines += ["## All failures", "", *by_reason(found, known)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", nargs="*", metavar="TOOL", help="names as in the table; none means all")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "refser-conformance", metavar="DIR")
    options = parser.parse_args()
    known = tools()
    if unknown := set(options.tools) - {tool["name"] for tool in known}:
        parser.error(f"no such tool: {', '.join(sorted(unknown))}; there are {', '.join(tool['name'] for tool in known)}")
    kept = options.cache / "results"
    kept.mkdir(parents=True, exist_ok=True)
    found = []
    for tool in known:
        path = kept / f"{tool['name'].replace(' ', '-').replace(',', '')}.json"
        if not options.table and (not options.tools or tool["name"] in options.tools):
            path.write_text(json.dumps(run(tool, options.cache), indent=1) + "\n", "utf-8")
        if path.exists():
            found.append(json.loads(path.read_text("utf-8")))
    (HERE / "RESULTS.md").write_text(report(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
