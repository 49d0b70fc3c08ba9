"""Speed against peers, interleaved in one run: `make bench`, or `python benchmarks/run.py --quick`.

Prints medians and ratios, and writes them to RESULTS.md beside this file.  Absolute times are the machine's; only ratios
carry over.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from against_keras import against_keras
from listing import listing
from processes import processes
from reading import other_layouts, reading
from samples import MIB
from table import Table
from validating import validating
from writing import writing

HEAD = """# Results

Written by `make bench`.  Ratios under 1 are in favour of the first row of each work, which is refser: of wall clock, and of CPU
time for listings and whole processes.  The modules of whole processes are compiled before, as those of installed packages are.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, help="size of the big file, 1024 or 64; takes six times that on disk")
    parser.add_argument("--keras-megabytes", type=int, help="size of the file for Keras, 320 or 40; 0 leaves it out")
    parser.add_argument("--files", type=int, help="how many small files are validated, 1000 or 100")
    parser.add_argument("--rounds", type=int, help="5 or 2")
    parser.add_argument("--quick", action="store_true", help="the smaller of these numbers, and RESULTS.md stays as it is")
    parser.add_argument("--out", type=Path, help="instead of RESULTS.md")
    options = parser.parse_args()
    out = options.out or (None if options.quick else Path(__file__).with_name("RESULTS.md"))
    for name, full, quick in (("megabytes", 1024, 64), ("keras_megabytes", 320, 40), ("files", 1000, 100), ("rounds", 5, 2)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    wanted = 6 * max(options.megabytes, 100, options.keras_megabytes) * MIB
    if shutil.disk_usage(tempfile.gettempdir()).free < wanted:
        sys.exit(f"{wanted >> 20:,} MiB have to be free in {tempfile.gettempdir()}: set TMPDIR, or give --megabytes")
    table, start = Table(), time.monotonic()
    table.say(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__},")
    table.say(f"h5py {h5py.__version__} (HDF5 {h5py.version.hdf5_version}), medians of {options.rounds}\n")
    table.head()
    rounds = options.rounds
    parts: list[Callable[[Path], None]] = [
        lambda folder: listing(table, folder, rounds),
        lambda folder: processes(table, folder, rounds),
        lambda folder: other_layouts(table, folder, rounds),
        lambda folder: reading(table, folder, options.megabytes, rounds),
        lambda folder: writing(table, folder, options.megabytes, rounds),
        lambda folder: validating(table, folder, options.files, options.megabytes, rounds),
    ]
    if options.keras_megabytes:
        parts.append(lambda folder: against_keras(table, folder, options.keras_megabytes, rounds))
    for part in parts:
        with tempfile.TemporaryDirectory() as name:  # emptied in between: each part has gigabytes
            part(Path(name))
    table.show_targets()
    print(f"\n{time.monotonic() - start:.0f} seconds")
    if out:
        out.write_text(HEAD + "\n".join(table.lines) + "\n")


if __name__ == "__main__":
    main()
