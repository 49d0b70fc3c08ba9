"""The only door to HDF5: a tree of groups, attributes and datasets, each dataset a dtype, a shape and a run of bytes.

Spec: spec/hdf5.md (H5).  Not here: what Keras keeps in the tree (layouts).
"""

from refser.errors import MalformedError, Problem
from refser.hdf5._tree import Attribute, Dataset, FixedStrings, Group, NewDataset, NewGroup, is_text
from refser.limits import Limits
from refser.source import Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"

__all__ = [
    "SIGNATURE",
    "Attribute",
    "Dataset",
    "FixedStrings",
    "Group",
    "NewDataset",
    "NewGroup",
    "find_superblock",
    "is_text",
    "read_tree",
    "write_tree",
]


def find_superblock(source: Source) -> int | None:
    """Where the file signature stands: at 0, 512, 1024, 2048 and so on [H5-013]."""
    at = 0
    while at + len(SIGNATURE) <= source.size:
        if source.view(at, len(SIGNATURE)) == SIGNATURE:
            return at
        at = at * 2 or 512
    return None


def read_tree(source: Source, *, limits: Limits) -> Group:
    """The root group of the file with everything below it, no array read.  Raises the first broken H5 requirement."""
    from refser.hdf5 import _reader

    start = find_superblock(source)
    if start is None:
        message = f"no HDF5 signature in {source.size:,} bytes"
        raise MalformedError(Problem(code="H5-011", message=message, at=source.name))
    end = _declared_end(source) if start == 0 else 0
    if end > source.size:
        message = f"an HDF5 file of {end:,} bytes that is cut short at {source.size:,}"
        raise MalformedError(Problem(code="H5-014", message=message, at=source.name, hint="fetch it again"))
    return _reader.read_tree(source, limits=limits)


def _declared_end(source: Source) -> int:
    """The end-of-file address in a superblock at byte 0; 0 where its version has another shape [H5-014]."""
    head = source.head(52)
    version = head[8] if len(head) > 8 else 255
    size_of_offsets, at = (head[13], 40) if version in (0, 1) and len(head) > 13 else (head[9] if len(head) > 9 else 0, 28)
    if version == 1:
        at += 4
    if version > 3 or size_of_offsets != 8 or len(head) < at + 8:
        return 0
    end = int.from_bytes(head[at : at + 8], "little")
    return 0 if end == 0xFFFFFFFFFFFFFFFF else end


def write_tree(path: str, root: NewGroup) -> None:
    """A new HDF5 file at `path` with everything of `root`; the same tree gives the same bytes [H5-010, H5-015].

    Raises `OSError` when the file system refuses.
    """
    from refser.hdf5 import _writer

    try:
        _writer.write_tree(path, root)
    except RuntimeError as error:  # as h5py reports a full disk that it meets on closing
        raise OSError(str(error)) from error
