"""Caps on what a file may ask for: sizes, counts, depth.

Spec: spec/limits.md (LI).  Each field is one requirement; a door checks the declared size against it before it allocates.
"""

from __future__ import annotations

from refser._record import record

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@record(frozen=True, slots=True, kw_only=True)
class Limits:
    """Caps for one `refser.open`.  Sizes are bytes.  Going over one raises `LimitError` with the LI code beside it."""

    json_bytes: int = 16 * MIB  # one JSON text [LI-001]
    json_depth: int = 512  # nesting of one JSON text [LI-002]
    zip_members: int = 65_536  # members of one archive [LI-003]
    inflated_bytes: int = 4 * GIB  # one compressed zip member or HDF5 dataset, decoded [LI-004]
    hdf5_objects: int = 1_000_000  # groups and datasets of one HDF5 file [LI-005]
    hdf5_depth: int = 64  # groups inside groups [LI-006]
    attribute_bytes: int = 64 * MIB  # one HDF5 attribute [LI-007]
    asset_bytes: int = 4 * GIB  # one asset [LI-008]
    shards: int = 10_000  # files that one index names [LI-009]
    unstored_bytes: int = 64 * MIB  # of one HDF5 dataset, elements that are declared and not stored [LI-010]
    allow_libhdf5: bool = True  # for HDF5 outside the profile that refser reads itself [LI-012]
    libhdf5_apart: bool = False  # in a process of its own, which may crash [LI-013]
    libhdf5_seconds: int = 60  # of CPU time, which such a process may take [LI-014]
    libhdf5_bytes: int = 4 * GIB  # of memory beside the program itself, likewise [LI-015]
    follow_symlinks: bool = False  # inside a model directory, and from an index to its shards [LI-011]


DEFAULT_LIMITS = Limits()
UNTRUSTED_LIMITS = Limits(allow_libhdf5=False)  # what `validate` goes by
RAISE = "raise Limits.{0} (--limit {0}=...) if you trust the file"  # the hint of a problem that one of them causes
