"""To be written.  Spec: KZ."""

from __future__ import annotations

from collections.abc import Iterator

from refser.checks.report import Finding
from refser.checks.subject import Subject


def check_container(subject: Subject) -> Iterator[Finding]:
    yield from ()
