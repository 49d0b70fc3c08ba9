"""To be written.  Spec: VA."""

from __future__ import annotations

from collections.abc import Iterator

from refser.checks.report import Finding
from refser.checks.subject import Subject


def check_values(subject: Subject) -> Iterator[Finding]:
    yield from ()
