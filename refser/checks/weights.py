"""To be written.  Spec: WT."""

from __future__ import annotations

from collections.abc import Iterator

from refser.checks.report import Finding
from refser.checks.subject import Subject


def check_weights(subject: Subject) -> Iterator[Finding]:
    yield from ()
