"""What the checks of weights and values find in a file, without the other checks.  Imports no Keras."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from weights_checked import looked_at

from refser.checks.report import Finding


def found_in(path: Path, **options: Any) -> list[Finding]:
    return [it for it in looked_at(path, **options) if it.severity in ("error", "warning")]
