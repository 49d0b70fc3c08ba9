"""`refser validate`: whether model files are sound, hang together and are safe to load.

Spec: spec/command-line.md (CL-041 to CL-051).  Not here: finding out (checks), the SARIF log (_sarif).
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from refser.checks.report import VERDICTS, Finding, Report, Verdict, of_error, unchecked
from refser.cli import _outcome
from refser.cli._files import Found, gather
from refser.cli._parser import limits_of, usage
from refser.cli._screen import LAYOUTS, Paint, Progress, plural, screen_width, wrap
from refser.errors import RefserError, printable
from refser.limits import Limits

_VERDICT_COLOURS = {"valid": "green", "unchecked": "yellow", "invalid": "red", "unsafe": "red"}
_SEVERITY_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
_SHOWN_MAX = 20  # problems of one requirement in one file, for people


def run(args: Namespace) -> int:
    """0 all are valid; 1 one is unsafe or invalid; 2 one could not be looked at, and none is worse [CL-041]."""
    if args.explain is not None:
        return _explain(args)
    if not args.files:
        return usage("validate", "the following arguments are required: FILE")
    if args.json and args.sarif:
        return usage("validate", "argument --sarif: not allowed with --json")
    args.file = args.files[0]
    limits = limits_of(args)
    found = gather(args.files, limits)
    reports = _reports(args, found, limits)
    if args.sarif:
        verdicts = _print_sarif(list(reports))
    elif args.json:
        verdicts = _print_json(args, reports)
    else:
        verdicts = _print_text(args, reports)
    if not args.quiet:
        _say_skipped(found)
    return exit_code(verdicts)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    worst = max(verdicts, key=VERDICTS.index)
    return {"valid": _outcome.CONFORMS, "unchecked": _outcome.NOT_DONE}.get(worst, _outcome.HAS_PROBLEM)


def _explain(args: Namespace) -> int:
    from refser.cli import _explain

    if args.json or args.sarif or args.files:
        return usage("validate", "argument --explain: not allowed with FILE, --json or --sarif")
    return _explain.explain(args.explain)


def _reports(args: Namespace, found: Found, limits: Limits) -> Iterator[Report]:
    from refser import api

    progress = Progress(len(found.files), "validating")
    options = {"target": args.target, "values": args.values, "deep": args.deep, "strict": args.strict}
    suppress = frozenset(code for codes in args.suppress for code in codes)
    for done, path in enumerate(found.files):
        progress.step(done)
        try:
            report = api.validate(path, limits=limits, suppress=suppress, also_allow=args.also_allow, **options)
        except RefserError as error:
            report = Report(path=path, problems=(of_error(error),))
        except MemoryError:
            report = Report(path=path, problems=(unchecked("VR-007", "not enough memory for this file", path),))
        finally:
            progress.end()
        yield report


def _say_skipped(found: Found) -> None:
    """What in the folders was not looked at [CL-043]."""
    said = []
    if found.skipped:
        said.append(f"{plural(found.skipped, 'file')} in folders skipped, no Keras model by name")
    if found.links:
        said.append(f"{plural(found.links, 'symbolic link')} not followed (--follow-symlinks)")
    if said:
        _outcome.say(f"note: {'; '.join(said)}")


def _print_sarif(reports: list[Report]) -> list[Verdict]:
    from refser.cli import _sarif

    verdicts: list[Verdict] = [report.verdict for report in reports]
    _outcome.print_object(_sarif.log(reports, exit_code(verdicts)))
    return verdicts


def _print_json(args: Namespace, reports: Iterable[Report]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for report in reports:
        verdicts.append(report.verdict)
        if not (args.quiet and report.verdict == "valid"):
            _outcome.print_json(args, report_json(report), file=report.path)
            sys.stdout.flush()  # for who reads along [CL-047]
    return verdicts


def report_json(report: Report) -> dict[str, Any]:
    """The fields that spec/schemas/validate.schema.json describes [CL-011]."""
    return {
        "layout": report.layout,
        "verdict": report.verdict,
        "problems": [
            {
                "severity": it.severity,
                "verdict": it.verdict,
                "code": it.code,
                "message": it.message,
                "at": it.at,
                "hint": it.hint,
            }
            for it in report.problems
        ],
        "statistics": dict(report.statistics),
        "suppressed": report.suppressed,
    }


def _print_text(args: Namespace, reports: Iterable[Report]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    width, paint = screen_width(), Paint()
    for report in reports:
        verdicts.append(report.verdict)
        if not (args.quiet and report.verdict == "valid"):
            print("\n".join(report_lines(report, width, paint, everything=args.all)))
    if len(verdicts) > 1 and not args.quiet:
        counts = Counter(verdicts)
        told = ", ".join(paint(_VERDICT_COLOURS[it], f"{counts[it]:,} {it}") for it in reversed(VERDICTS) if counts[it])
        print(f"\n{plural(len(verdicts), 'file')}: {told}")
    return verdicts


def report_lines(report: Report, width: int, paint: Paint, *, everything: bool = False) -> Iterator[str]:
    """One report for a person: a line with the verdict, then the problems [CL-044]."""
    name = paint("bold", printable(report.path))
    facts = printable(", ".join(_facts(report)))
    yield f"{name}: {paint(_VERDICT_COLOURS[report.verdict], report.verdict)}{f' ({facts})' if facts else ''}"
    shown = Counter[str]()
    for problem in report.problems:
        if problem.severity == "info" and not everything:
            continue
        shown[problem.code] += 1
        if shown[problem.code] <= _SHOWN_MAX:
            yield from _problem_lines(problem, report.path, width, paint)
    for code, count in shown.items():
        if count > _SHOWN_MAX:
            yield f"  and {plural(count - _SHOWN_MAX, 'more problem')} of {code}; --json has all"


def _facts(report: Report) -> Iterator[str]:
    if report.layout is not None:
        yield LAYOUTS.get(report.layout, report.layout)
    if version := report.statistics.get("keras_version"):
        yield f"Keras {version}"
    counts = Counter(it.severity for it in report.problems)
    yield from (plural(counts[word], word) for word in ("error", "warning") if counts[word])
    if report.suppressed:
        yield f"{report.suppressed:,} suppressed"


def _problem_lines(problem: Finding, path: str, width: int, paint: Paint) -> Iterator[str]:
    place = f"{problem.at}: " if problem.at not in ("", path) else ""
    first, *rest = wrap(f"{problem.severity} {problem.code} {place}{problem.message}", width - 2)
    word = problem.severity
    yield f"  {paint(_SEVERITY_COLOURS[word], word)}{first.removeprefix(word)}"
    hint = wrap(f"hint: {problem.hint}", width - 4) if problem.hint else ()
    yield from (f"  {line}" for line in rest)
    yield from (f"    {line}" for line in hint)
