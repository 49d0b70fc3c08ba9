#!/usr/bin/env python3
"""What binds each requirement to code, tests and conformance cases, and where something is missing.

    python spec/trace.py              the matrix, then the holes
    python spec/trace.py --holes      the holes alone
    python spec/trace.py --markdown   the matrix as a page
    python spec/trace.py --json       all that is known, as one JSON object
    python spec/trace.py --write      collect spec/open-questions.md anew from the chapters

Exit codes: 0 no hole, 1 at least one.  Standard library only.

What a MUST needs, by its subject and what it asks (`needs`):

    code       a file of refser/ that cites it
    test       a test that cites it, or an example below it, which tests/test_spec.py runs
    broken     a case of the kind `reject` that covers it; and a code in refser/ by which such a case is refused
    kept       a case that covers it and is not refused
    kept near  the same, or any valid case of its chapter, or of a real or unusual file of a layout that it is about
               (`NEAR_LAYOUTS`): a valid file keeps every requirement on files

A requirement on a file, and one on a reader or validator that has to refuse, needs to be broken and kept; what a reader
takes, what a validator remarks without an error, and what a writer writes needs to be kept.  `SHOWN` lists cases that show more
than they were made for, `EXEMPT` what no case can show.  A SHOULD or MAY needs code and a test, no case.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

SPEC = Path(__file__).resolve().parent
ROOT = SPEC.parent
NOT_CHAPTERS = ("README", "introduction", "versions", "changes", "open-questions")
ID = r"[A-Z][A-Z0-9]-\d{3}"
CITED = re.compile(rf"\b({ID})(?: to ({ID}))?\b")
HEADING = re.compile(rf"^#### ({ID}) (.+)$")
VERB = re.compile(r"\b(?:MUST NOT|MUST|SHOULD NOT|SHOULD|MAY)\b")
ACTOR = re.compile(r"\b(reader|writer|validator|program|command)\b")
NOTE = re.compile(r"\(Since (\d+\.\d+)\.(?: Observed: ([^()]+)\.)?\)\s*$")
TEST_NAME = re.compile(r"\bdef test_([a-z][a-z0-9])(\d{3})_")
CODE_FILES, TEST_FILES = "refser/**/*.py", "tests/**/*.py"
CITING = ("conformance/**/*.py", "conformance/**/*.md", "conformance/profiles/*.json", "spec/*.md", "*.md", "docs/**/*.md")

# Layouts of the valid cases that keep the requirements of a prefix, beside those of its own chapters; the others, all.
WITH_CONFIG = ("keras-zip", "keras-dir", "legacy-h5", "config-json")
NEAR_LAYOUTS: dict[str, tuple[str, ...]] = {
    "KZ": ("keras-zip",),
    "KD": ("keras-dir",),
    "SH": ("weights-sharded",),
    "LH": ("legacy-h5", "legacy-weights-h5"),
    "WH": ("weights-h5", "weights-sharded", "keras-zip", "keras-dir"),
    "AS": ("keras-zip", "keras-dir"),
    **dict.fromkeys(("CF", "AR", "LY", "WT", "SF"), WITH_CONFIG),
}

# Cases that were made for something else and show this too: their ids, or the requirement that they cover.
SHOWN: dict[str, tuple[str, ...]] = {
    "H5-019": ("unusual/user-block",),
    "H5-020": ("VA-001",),
    "H5-021": ("VA-012",),
    "H5-022": ("VA-006",),
    "H5-023": ("VA-001",),
    "H5-024": ("VA-005",),
    "H5-032": ("real/keras-3.15.1-functional-weights-h5",),
    "H5-046": ("unusual/newest-format",),
    "H5-051": ("unusual/fixed-length-name", "unusual/more-attributes"),
    "H5-084": ("H5-001", "H5-002", "H5-003"),
    "KZ-011": ("JS-005",),
    "CF-002": ("FT-012",),
    "CF-020": ("AR-013",),
    "CF-041": ("WT-021",),
    "CF-043": ("WT-011",),
    "CF-044": ("WT-002", "WT-016"),
}

# What no case can show: the needs that fall away, and why.  An ID goes before its prefix.
ALL = ("broken", "kept", "kept near")
OWN_TREE = "says which weights follow from a config; a file with others breaks WT-040 to WT-046"
BYTES = "the suite compares what a written file holds, not its bytes"
ONE_FAULT = "a case has one fault"
CALLER = "depends on what a caller asks for; the protocol of the suite has no place for it"
LIBRARY = "about a library for HDF5 in a process of its own"
OPTIONAL = "what one reader refuses as unsupported, another reads with a library for HDF5"
NO_FILE = "a checkout keeps no FIFO, device or socket"
MEMORY = "about values in a program's memory; an answer has the bytes of the file"
UNSAFE = "code in a config is refused as unsafe, well formed or not (SF-002, SF-017)"
EXEMPT: dict[str, tuple[tuple[str, ...], str]] = {
    "CL": (ALL, "a command line of refser's own, which no other tool has"),
    "VR": (ALL, "about the report of a validator, of which an answer has verdict and codes alone"),
    "TG": (ALL, CALLER),
    "LI": (ALL, CALLER),
    "IO": (ALL, "about other files, links, streams, crashes and the system; the suite looks at one whole file"),
    "IO-004": ((), ""),
    **dict.fromkeys([f"WT-{number:03}" for number in (*range(1, 14), 16, 17, 18, 20)], (("broken",), OWN_TREE)),
    "LY-010": (("broken",), OWN_TREE),
    "LY-020": (ALL, CALLER),
    "WT-030": (ALL, CALLER),
    "WT-031": (ALL, CALLER),
    "KZ-019": (ALL, CALLER),
    "KZ-030": (("broken",), "unfolds to more than 4 GiB unless a caller sets another limit"),
    "KZ-031": (ALL, CALLER),
    "SH-010": (ALL, CALLER),
    "VA-009": (ALL, MEMORY),
    "VA-010": (ALL, MEMORY),
    "VA-011": (ALL, MEMORY),
    "CF-014": (("broken",), UNSAFE),
    "CF-015": (("broken",), UNSAFE),
    "CF-018": (ALL, "about the text of a message"),
    "CF-019": (ALL, CALLER),
    "CF-022": (ALL, "what a reader leaves undone is in no answer; the hostile cases are for whoever watches it"),
    "CF-050": (("broken",), ONE_FAULT),
    "KD-010": (ALL, ONE_FAULT),
    "KZ-035": (ALL, ONE_FAULT),
    "SH-015": (ALL, ONE_FAULT),
    "KD-007": (("broken",), NO_FILE),
    "SH-016": (("broken",), NO_FILE),
    "H5-026": (ALL, "what it leads to is VA-008"),
    "H5-027": (("broken",), OPTIONAL),
    "H5-034": (ALL, OPTIONAL),
    "H5-055": (ALL, OPTIONAL),
    "H5-094": (ALL, LIBRARY),
    "H5-095": (ALL, LIBRARY),
    "H5-096": (ALL, LIBRARY),
    "LH-010": (("broken",), "says how a reader spells a path, which no file can break"),
    **dict.fromkeys([f"H5-{number:03}" for number in range(60, 68)], (ALL, BYTES)),
    **dict.fromkeys(("JS-007", "LH-008", "LH-021", "KZ-017", "KZ-018"), (ALL, BYTES)),
}


@dataclass
class Case:
    id: str
    kind: str
    problem: str | None
    layout: str = ""  # of a valid case whose file is a real or an unusual one


@dataclass
class Requirement:
    id: str
    title: str
    chapter: str
    line: int
    text: str = ""
    verb: str = ""
    subject: str = ""
    since: str = ""
    observed: str = ""
    needs: list[str] = field(default_factory=list)
    exempt: str = ""  # why needs fell away
    code: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)  # IDs in string literals of refser/: its own, or that of a case it breaks
    tests: list[str] = field(default_factory=list)
    examples: int = 0
    broken: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    kept_near: int = 0  # valid cases of its chapter, and valid files that it is about
    holes: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"spec/{self.chapter}:{self.line}"


# ------------------------------------------------------------------------------------------------------ reading the chapters


def chapters() -> list[Path]:
    """In the order of the table in README.md, those that it lacks behind."""
    listed = re.findall(r"^\| \[([\w-]+\.md)\]", (SPEC / "README.md").read_text("utf-8"), re.MULTILINE)
    found = {path.name: path for path in sorted(SPEC.glob("*.md")) if path.stem not in NOT_CHAPTERS}
    return [found.pop(name) for name in listed if name in found] + list(found.values())


def read_requirements(path: Path) -> Iterator[Requirement]:
    now: Requirement | None = None
    fenced = open_paragraph = False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            fenced, open_paragraph = not fenced, False
            if now and line == "```example":
                now.examples += 1
        elif fenced:
            continue
        elif line.startswith("#"):
            if now:
                yield now
            found = HEADING.match(line)
            now = Requirement(found[1], found[2], path.name, number) if found else None
            open_paragraph = now is not None
        elif now and open_paragraph:
            if line and not line.startswith(">"):
                now.text = f"{now.text} {line}".lstrip()
            elif now.text:
                open_paragraph = False
    if now:
        yield now


def analyse(requirement: Requirement) -> None:
    bare = re.sub(r"`[^`]*`", "`", requirement.text)
    if (verb := VERB.search(bare)) is None:
        requirement.holes.append("no MUST, SHOULD or MAY")
        return
    requirement.verb = verb[0]
    requirement.subject = subject_of(requirement.id, bare[: verb.start()])
    note = NOTE.search(requirement.text)
    requirement.since, requirement.observed = (note[1], note[2] or "") if note else ("", "")
    requirement.needs = needs_of(requirement, bare[verb.end() :])
    requirement.exempt = without_exempt(requirement)


def subject_of(code: str, before: str) -> str:
    if code.startswith("CL-"):
        return "command"
    found = ACTOR.findall(before)
    if found:
        return found[-1]
    return "writer" if "is written" in before else "file"


def needs_of(requirement: Requirement, predicate: str) -> list[str]:
    if not requirement.verb.startswith("MUST"):
        return ["code", "test"]
    return ["code", "test", *case_needs(requirement.subject, predicate, requirement.verb == "MUST NOT")]


def case_needs(subject: str, predicate: str, not_so: bool) -> tuple[str, ...]:
    both = ("broken", "kept near")
    if subject == "file":
        return both
    if subject == "reader":
        return both if re.match(r" (?:report|refuse)\b", predicate) else ("kept",)
    if subject == "validator":
        if not_so:
            return ("kept",)
        if re.search(r"\b(?:unsafe|invalid|error)\b", predicate):
            return both
        if re.search(r"\bwarn|\bwarning\b|\binfo\b|\btell\b", predicate):
            return ("kept",)
        return both if re.match(r" report\b", predicate) else ("kept",)
    return ("kept",)  # a writer, a program, a command


def without_exempt(requirement: Requirement) -> str:
    gone, why = EXEMPT.get(requirement.id) or EXEMPT.get(requirement.id[:2]) or ((), "")
    kept = [need for need in requirement.needs if need not in gone]
    gone_now, requirement.needs = len(kept) < len(requirement.needs), kept
    return why if gone_now else ""


# --------------------------------------------------------------------------------------------------------- what cites an ID


def named(text: str) -> set[str]:
    """Every ID that stands in a text."""
    return set(re.findall(rf"\b{ID}\b", text))


def cited(text: str) -> set[str]:
    """The same, and those between: `KZ-001 to KZ-003` cites three."""
    found = set()
    for first, last in CITED.findall(text):
        found |= {f"{first[:3]}{number:03}" for number in range(int(first[3:]), int((last or first)[3:]) + 1)}
    return found


def files(*patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern)})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read_cases() -> tuple[list[Case], dict[str, list[Case]], dict[str, set[str]]]:
    """All cases; ID -> those that cover it; file -> the IDs it cites."""
    cases, covering, citing = [], defaultdict(list), {}
    for path in files("conformance/cases/*/*/case.json"):
        case = json.loads(path.read_bytes())
        problem = case.get("problem", {}).get("code")
        tags = case.get("tags", ()) if case["id"].startswith(("real/", "unusual/")) else ()
        layout = next((tag.partition(":")[2] for tag in tags if tag.startswith("layout:")), "")
        cases.append(Case(case["id"], case["kind"], problem, layout if case["kind"] != "reject" else ""))
        citing[name_of(path)] = {*case.get("covers", ()), *([problem] if problem else ())}
        for code in case.get("covers", ()):
            covering[code].append(cases[-1])
    return cases, covering, citing


@dataclass
class Trace:
    requirements: list[Requirement]
    cases: int
    undefined: list[str]  # "KZ-999, cited in refser/zipio.py"
    other: list[str]  # holes of the specification as a whole

    @property
    def holes(self) -> list[str]:
        return [
            *(f"{r.where}: {r.id} {r.title}: {hole}" for r in self.requirements for hole in r.holes),
            *self.undefined,
            *self.other,
        ]


def trace() -> Trace:
    requirements = [requirement for path in chapters() for requirement in read_requirements(path)]
    by_id = {requirement.id: requirement for requirement in requirements}
    prefixes = {code[:2] for code in by_id}
    citing: dict[str, set[str]] = {}
    raised: dict[str, set[str]] = defaultdict(set)
    for path in files(CODE_FILES):
        text, name = path.read_text("utf-8"), name_of(path)
        citing[name] = named(text)
        for code in re.findall(rf"""["']({ID})["']""", text):
            raised[code].add(name)
        for code in cited(text) & by_id.keys():
            by_id[code].code.append(name)
    for path in files(TEST_FILES):
        text, name = path.read_text("utf-8"), name_of(path)
        found = cited(text)
        if path.name not in ("test_spec.py", "test_trace.py"):  # they name IDs that do not exist
            citing[name] = named(text)
        for code in found | {f"{prefix.upper()}-{number}" for prefix, number in TEST_NAME.findall(text)}:
            if code in by_id:
                by_id[code].tests.append(name)
    cases, covering, of_cases = read_cases()
    citing |= of_cases
    for path in files(*CITING):
        if path.name != "changes.md":  # withdrawn IDs stay in it
            citing[name_of(path)] = named(path.read_text("utf-8"))
    near: dict[str, set[str]] = defaultdict(set)
    for requirement in requirements:
        near[requirement.chapter] |= {case.id for case in covering[requirement.id] if case.kind != "reject"}
    by_case = {case.id: case for case in cases}
    other = [
        f"{shown}, in SHOWN for {code}, is no {'case' if '/' in shown else 'requirement'}"
        for code, them in SHOWN.items()
        for shown in (code, *them)
        if shown not in (by_case if "/" in shown else by_id)
    ]
    for requirement in requirements:
        analyse(requirement)
        mine = list(covering[requirement.id])
        for shown in SHOWN.get(requirement.id, ()):
            mine += [it for it in (covering[shown] if "/" not in shown else [by_case.get(shown)]) if it and it not in mine]
        requirement.broken = [case.id for case in mine if case.kind == "reject"]
        requirement.kept = [case.id for case in mine if case.kind != "reject"]
        layouts = NEAR_LAYOUTS.get(requirement.id[:2])
        whole = {case.id for case in cases if case.layout and (layouts is None or case.layout in layouts)}
        requirement.kept_near = len(near[requirement.chapter] | whole)
        codes = {requirement.id, *(case.problem for case in mine if case.problem)}
        requirement.raised = sorted(code for code in codes if code in raised)
        requirement.holes += holes_of(requirement)
    undefined = [
        f"{code}, cited in {name} and defined nowhere"
        for name in sorted(citing)
        for code in sorted(citing[name] - by_id.keys())
        if code[:2] in prefixes
    ]
    times = defaultdict(list)
    for requirement in requirements:
        times[requirement.id].append(requirement.where)
    other += [f"{code} is defined more than once: {', '.join(places)}" for code, places in times.items() if len(places) > 1]
    if collected() != (OPEN.read_text("utf-8") if OPEN.exists() else ""):
        other.append(f"spec/{OPEN.name} is not what the chapters leave open: run `python spec/trace.py --write`")
    return Trace(requirements, len(cases), undefined, other)


def holes_of(requirement: Requirement) -> Iterator[str]:
    needs = requirement.needs
    if "code" in needs and not requirement.code:
        yield "no code cites it"
    if "test" in needs and not requirement.tests and not requirement.examples:
        yield "no test cites it, and it has no example"
    if "broken" in needs:
        if not requirement.broken:
            yield "no case breaks it"
        elif not requirement.raised:
            yield "no code of refser/ names the problem of the cases that break it"
    if ("kept" in needs and not requirement.kept) or ("kept near" in needs and not (requirement.kept or requirement.kept_near)):
        yield "no valid case"


# ------------------------------------------------------------------------------------------------------------ open questions

OPEN = SPEC / "open-questions.md"


def collected() -> str:
    """What the chapters list under "Left open", as one page."""
    lines = [
        "# Open questions",
        "",
        "What no test asks, because it is not decided, or is left to each program: the sections *Left open* of the chapters,",
        "collected by `python spec/trace.py --write`. Whoever relies on one of these points relies on one program.",
    ]
    for path in chapters():
        text = path.read_text("utf-8")
        title = re.sub(r" \([A-Z0-9]{2}\)$", "", text.partition("\n")[0].removeprefix("# "))
        left = text.partition("\n## Left open\n")[2].strip()
        if left and left.rstrip(".") != "Nothing":
            lines += ["", f"## {title}", "", f"From [{path.name}]({path.name}).", "", left]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------------------------- output


def counted(requirement: Requirement, need: str) -> str:
    """The number of cases, with "!" where one is missing and "-" where none is needed."""
    number = len(requirement.broken if need == "broken" else requirement.kept)
    if number:
        return str(number)
    if need == "broken":
        return "!" if "broken" in requirement.needs else "-"
    if "kept near" in requirement.needs:
        return f"({requirement.kept_near})" if requirement.kept_near else "!"
    return "!" if "kept" in requirement.needs else "-"


def row(requirement: Requirement) -> list[str]:
    return [
        requirement.id,
        requirement.title,
        requirement.verb,
        requirement.subject,
        requirement.since,
        requirement.observed or "-",
        short(requirement.code),
        " ".join(requirement.raised) or "-",
        short(requirement.tests) if requirement.tests else "-",
        str(requirement.examples or "-"),
        counted(requirement, "broken"),
        counted(requirement, "kept"),
    ]


HEAD = ["ID", "title", "verb", "subject", "since", "observed", "code", "raised", "tests", "examples", "broken", "kept"]


def short(names: Iterable[str]) -> str:
    """The first two, without what all have in front."""
    cut = [re.sub(r"^(?:refser|tests)/|\.py$", "", name) for name in names]
    return ", ".join(cut[:2]) + (f" +{len(cut) - 2}" if len(cut) > 2 else "") or "!"


def as_text(found: Trace) -> str:
    rows = [HEAD, *map(row, found.requirements)]
    rows = [[cell if len(cell) <= 44 else f"{cell[:43]}…" for cell in cells] for cells in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in rows)


def as_markdown(found: Trace) -> str:
    lines = [
        "# Traceability",
        "",
        "Each requirement of the specification: the code that cites it, the codes of the problems by which its breaking is",
        "reported, the tests that cite it, its examples, and how many conformance cases break it and keep it. `(n)`: kept by",
        "the n valid cases of its chapter. `-`: none needed. `!`: missing.",
    ]
    chapter = ""
    for requirement in found.requirements:
        if requirement.chapter != chapter:
            chapter = requirement.chapter
            lines += ["", f"## {chapter}", "", f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
        cells = [cell.replace("|", "\\|") for cell in row(requirement)]
        cells[0] = f"[{cells[0]}]({chapter}#{anchor(requirement)})"
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## What no case can show", "", "| requirements | why |", "|---|---|"]
    reasons: dict[str, list[str]] = defaultdict(list)
    for requirement in found.requirements:
        if requirement.exempt:
            reasons[requirement.exempt].append(requirement.id)
    lines += [f"| {', '.join(runs(codes))} | {why} |" for why, codes in reasons.items()]
    lines += ["", "## Holes", "", *([f"- {hole}" for hole in found.holes] or ["None."])]
    return "\n".join(lines)


def anchor(requirement: Requirement) -> str:
    """The fragment that common Markdown renderers give the heading."""
    return re.sub(r"[^\w -]", "", f"{requirement.id} {requirement.title}".lower()).replace(" ", "-")


def runs(codes: list[str]) -> Iterator[str]:
    """IDs that follow one another as "KZ-001 to KZ-003"."""
    start = 0
    for here in range(1, len(codes) + 1):
        ends = here == len(codes) or codes[here] != f"{codes[here - 1][:3]}{int(codes[here - 1][3:]) + 1:03}"
        if ends:
            yield codes[start] if here - start == 1 else f"{codes[start]} to {codes[here - 1]}"
            start = here


def summary(found: Trace) -> str:
    must = sum(r.verb.startswith("MUST") for r in found.requirements)
    shown = sum(bool(r.broken or r.kept) for r in found.requirements)
    return (
        f"{len(found.requirements)} requirements, {must} of them MUST; {found.cases} cases, which cover {shown}; "
        f"{sum(bool(r.exempt) for r in found.requirements)} need no case; {len(found.holes)} holes"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--holes", action="store_true", help="the holes alone")
    how.add_argument("--markdown", action="store_true", help="the matrix as a page")
    how.add_argument("--json", action="store_true", help="all that is known, as one JSON object")
    how.add_argument("--write", action="store_true", help=f"collect spec/{OPEN.name} anew")
    options = parser.parse_args(argv)
    if options.write:
        OPEN.write_text(collected(), "utf-8")
        return 0
    found = trace()
    if options.json:
        print(json.dumps({"requirements": [asdict(r) for r in found.requirements], "cases": found.cases, "holes": found.holes}))
    elif options.markdown:
        print(as_markdown(found))
    else:
        if not options.holes:
            print(as_text(found), end="\n\n")
        for hole in found.holes:
            print(hole)
        print(summary(found))
    return 1 if found.holes else 0


if __name__ == "__main__":
    sys.exit(main())
