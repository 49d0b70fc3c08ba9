"""What the checks of weights and values find in a file, without the other checks.  Imports no Keras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refser.checks.report import Finding, of_error
from refser.checks.subject import Options, Subject
from refser.checks.values import check_values
from refser.checks.weights import check_weights
from refser.errors import RefserError
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS


def found_in(path: Path, **options: Any) -> list[Finding]:
    return [it for it in looked_at(path, **options) if it.severity in ("error", "warning")]


def looked_at(path: Path, **options: Any) -> Iterator[Finding]:
    refused: list[Finding] = []
    try:
        with open_layout(str(path), limits=DEFAULT_LIMITS, refuse=lambda error: refused.append(of_error(error))) as file:
            subject = Subject(file, Options(**options))
            yield from check_weights(subject)
            yield from check_values(subject)
            yield from subject.found
    except RefserError as error:
        yield of_error(error)
    yield from refused
