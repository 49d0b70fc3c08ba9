"""The only door to HDF5: a tree of groups, attributes and datasets, each dataset a dtype, a shape and a run of bytes.

Spec: spec/hdf5.md (H5).  Not here: what Keras keeps in the tree (layouts).
"""

from collections.abc import Callable

from refser.errors import RefserError
from refser.hdf5._plan import Plan
from refser.hdf5._superblock import SIGNATURE, signature_places
from refser.hdf5._tree import Attribute, Dataset, FixedStrings, Flat, Group, NewDataset, NewGroup, Remark, is_text
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
    "Remark",
    "find_superblock",
    "is_text",
    "plan_tree",
    "read_tree",
    "write_tree",
]


def find_superblock(source: Source) -> int | None:
    """Where the file signature stands, if anywhere [H5-013]."""
    return next((at for at in signature_places(source.size) if source.view(at, len(SIGNATURE)) == SIGNATURE), None)


def read_tree(source: Source, *, limits: Limits, refuse: Callable[[RefserError], None] | None = None) -> Group:
    """The root group of the file with everything below it, no array read.  Raises the first broken H5 requirement.

    With `refuse`, what is wrong with one link or one dataset is handed over, and the others are looked at: a link that
    nobody may follow is not in the tree, and a dataset keeps its fault [H5-084].  Damaged structures are raised all the same.
    """
    from refser.hdf5._image import Faults, Image, OutsideProfile
    from refser.hdf5._walk import read_profile

    faults, root = Faults(keep=refuse is not None), None
    try:
        buffer, need = source.image()
        root = read_profile(source, Image(buffer, source.name, limits, need), faults)
    except OutsideProfile as outside:
        faults.outside, faults.lost = [outside], True
    except RefserError:
        faults.hand_over(refuse)
        raise
    if faults.unsupported is not None:
        raise faults.unsupported
    if faults.outside and limits.allow_libhdf5 and not faults.unsafe:
        if limits.libhdf5_apart:
            from refser.hdf5 import _apart

            return _apart.read_tree(source, limits=limits, refuse=refuse)
        from refser.hdf5 import _libhdf5

        return _libhdf5.read_tree(source, limits=limits, refuse=refuse)
    faults.hand_over(refuse)
    refusals = [outside.refusal() for outside in faults.outside]
    if root is None or (refusals and (refuse is None or faults.lost)):
        raise refusals[0]
    if refuse is not None:
        for refusal in refusals:
            refuse(refusal)
    return root


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
