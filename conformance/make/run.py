"""Make the cases again: `python conformance/make/run.py [FOLDER]`, into conformance/cases unless another folder is named.

The bytes are the same each time, but for one file with the time of its making and those with virtual datasets.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import from_spec
import profiles
import real
from building import CASES, Case, put_files, write
from expected import describe
from hostile_config import invalid_configs, unsafe_configs
from hostile_files import file_cases
from unusual import unusual_cases


def with_answer(case: Case) -> Case:
    """A sound file, with what h5py finds in it."""
    with tempfile.TemporaryDirectory() as folder:
        put_files(Path(folder), case.files)
        expect = describe(Path(folder) / case.input)
    return case._replace(expect=expect, tags=(*case.tags, f"layout:{expect['layout']}"))


def main(folder: Path = CASES) -> None:
    write("hostile", [*unsafe_configs(), *invalid_configs(), *file_cases()], "run.py", folder)
    write("unusual", [with_answer(case) for case in unusual_cases()], "run.py", folder)
    from_spec.main(folder)
    real.main(folder)
    profiles.main(folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
