"""Make the cases again: `python conformance/make/run.py`."""

from __future__ import annotations

from building import write
from hostile_config import invalid_configs, unsafe_configs
from hostile_files import file_cases
from unusual import unusual_cases


def main() -> None:
    write("hostile", [*unsafe_configs(), *invalid_configs(), *file_cases()], "run.py")
    write("unusual", unusual_cases(), "run.py")


if __name__ == "__main__":
    main()
