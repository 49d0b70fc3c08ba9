"""What the graph check finds in a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refser.checks.graph import check_graph
from refser.checks.report import Finding
from refser.checks.subject import Options, Subject
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS


def found_in(config: dict[str, Any] | str, folder: Path) -> list[Finding]:
    """What is found in a config that stands alone."""
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config), "utf-8")
    with open_layout(str(path), limits=DEFAULT_LIMITS) as file:
        subject = Subject(file, Options())
        findings = list(check_graph(subject))
        return [*subject.found, *findings]
