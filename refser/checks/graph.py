"""To be written.  Spec: CF."""

from __future__ import annotations

from collections.abc import Iterator

from refser.checks.report import Finding
from refser.checks.subject import Subject


def check_graph(subject: Subject) -> Iterator[Finding]:
    yield from ()
