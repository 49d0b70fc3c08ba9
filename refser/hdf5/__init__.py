"""The only door to HDF5: a tree of groups, attributes and datasets, each dataset a dtype, a shape and a run of bytes.

Spec: spec/hdf5.md (H5).  Not here: what Keras keeps in the tree (layouts).
"""

from refser.hdf5._plan import Plan
from refser.hdf5._superblock import SIGNATURE, signature_places
from refser.hdf5._tree import Attribute, Dataset, FixedStrings, Flat, Group, NewDataset, NewGroup, is_text
from refser.limits import Limits
from refser.source import Source

__all__ = [
    "SIGNATURE",
    "Attribute",
    "Dataset",
    "Flat",
    "FixedStrings",
    "Group",
    "NewDataset",
    "NewGroup",
    "Plan",
    "find_superblock",
    "is_text",
    "plan_tree",
    "read_tree",
    "write_tree",
]


def find_superblock(source: Source) -> int | None:
    """Where the file signature stands, if anywhere [H5-013]."""
    return next((at for at in signature_places(source.size) if source.view(at, len(SIGNATURE)) == SIGNATURE), None)


def read_tree(source: Source, *, limits: Limits) -> Group:
    """The root group of the file with everything below it, no array read.  Raises the first broken H5 requirement."""
    from refser.hdf5._image import Image, OutsideProfile
    from refser.hdf5._walk import read_profile

    try:
        buffer, need = source.image()
        return read_profile(source, Image(buffer, source.name, limits, need))
    except OutsideProfile as outside:
        if not limits.allow_libhdf5:
            raise outside.refusal() from None
    from refser.hdf5 import _libhdf5

    return _libhdf5.read_tree(source, limits=limits)


def plan_tree(root: NewGroup) -> Plan:
    """An HDF5 file with everything of `root`, ready to be written: its size is known, its arrays stay where they are.

    The same tree gives the same bytes [H5-010, H5-015].
    """
    from refser.hdf5._writer import plan_file

    return plan_file(root)


def write_tree(path: str, root: NewGroup) -> None:
    """A new HDF5 file at `path` with everything of `root`.  Raises `OSError` when the file system refuses."""
    with open(path, "xb") as file:
        plan_tree(root).write(file)
