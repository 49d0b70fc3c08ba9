"""Whether the container is sound: one file and not two, no bytes that nobody owns, records that agree.

Spec: spec/keras-zip.md (KZ-020 to KZ-034), spec/identify.md (FT-015, FT-016).  Not here: what stops the reading (zipio, hdf5,
layouts), what the model says (the other modules).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from refser.checks._zip_members import look_at_data, look_at_names, look_at_sizes, look_for_archives
from refser.checks._zip_records import Records
from refser.checks.report import Finding, error, info, unsafe, warning
from refser.checks.subject import Subject
from refser.config.objects import shown
from refser.errors import RefserError
from refser.hdf5 import Group, find_superblock
from refser.layouts import ModelFile
from refser.zipio import Archive

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,8}){1,3}(?:[-.+]?[0-9A-Za-z]{1,20}){0,6}")
_MOST = 100  # findings of one kind
_MAKE = {"error": error, "warning": warning, "info": info}


def check_container(subject: Subject) -> Iterator[Finding]:
    """What is wrong with, or odd about, the bytes around the model."""
    yield from _fewer(_found(subject))


def _fewer(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The first of each kind, then one that says there are more: an archive has thousands of members."""
    counts = Counter[tuple[str, str, str]]()
    for finding in findings:
        key = (finding.code, finding.severity, finding.verdict)
        counts[key] += 1
        if counts[key] <= _MOST:
            yield finding
        elif counts[key] == _MOST + 1:
            message = f"the same in more than {_MOST} places; the others are not listed"
            yield Finding(code=finding.code, message=message, severity=finding.severity, verdict=finding.verdict)


def _found(subject: Subject) -> Iterator[Finding]:
    file = subject.file
    if file.archive is not None:
        try:
            yield from _archive(file, file.archive, deep=subject.options.deep)
        except RefserError as fault:  # bytes that are no longer there
            subject.refuse(fault)
    yield from _metadata(file)
    for root in file.roots:
        yield from _remarks(subject, root)
    if file.generation == "legacy" and file.roots:
        yield from _two_layouts(file, file.roots[0])


def _archive(file: ModelFile, archive: Archive, *, deep: bool) -> Iterator[Finding]:
    records = Records(archive.source)
    yield from records.findings
    listed = [(entry.offset, entry.packed, entry.size, entry.crc) for entry in records.entries]
    if listed != archive.listed and not any(finding.severity == "error" for finding in records.findings):
        yield error("KZ-024", "a directory that zipfile reads in another way", archive.name)
    yield from look_at_names(records)
    yield from look_at_sizes(records, file.limits)
    yield from look_for_archives(records)
    yield from _signatures(records)
    sizes = archive.sizes
    if _METADATA not in sizes and "metadata" not in file.unread:
        message = f"an archive without {_METADATA}; wanted {_CONFIG}, {_METADATA} and {_WEIGHTS}"
        yield warning("KZ-033", message, archive.name)
    if deep:
        yield from look_at_data(archive, [name for name in sizes if name not in archive.compared])


def _signatures(records: Records) -> Iterator[Finding]:
    """An HDF5 file where HDF5 looks for one, unless it is the archive's own weights [FT-015]."""
    at = find_superblock(records.source)
    if at is None:
        return
    members = zip(records.entries, records.data)
    if not any(at == start and entry.name == _WEIGHTS.encode() and not entry.method for entry, (start, _) in members):
        message = "a zip archive that is an HDF5 file too, which nobody looked into; wanted a file that is one of them"
        yield unsafe("FT-015", message, records.place(at), "by its name Keras may take it for the HDF5 file")


def _metadata(file: ModelFile) -> Iterator[Finding]:
    """Keras never reads what they say; whoever goes by it is misled [KZ-034]."""
    at = f"{file.path}: metadata"
    for key in ("keras_version", "date_saved"):
        value = file.metadata.get(key, "")
        if not isinstance(value, str):
            yield warning("KZ-034", f"a {key} that is {shown(value)}; wanted a string", at)
        elif key == "keras_version" and value and not _VERSION.fullmatch(value):
            yield warning("KZ-034", f"the keras_version {shown(value)}; wanted a version such as '3.15.1'", at)


def _remarks(subject: Subject, root: Group) -> Iterator[Finding]:
    """What the HDF5 door found odd and read all the same."""
    try:
        for remark in root.remarks():
            yield _MAKE[remark.severity](remark.code, remark.message, remark.at, remark.hint)
    except RefserError as fault:
        subject.refuse(fault)


def _two_layouts(file: ModelFile, root: Group) -> Iterator[Finding]:
    """A store beside the layers of a legacy file: whose weights Keras takes, the name decides [FT-016]."""
    store = root.children.get("vars")
    if isinstance(store, Group) and all(group.path.split("/")[0] != "vars" for group in file.groups):
        message = "a legacy HDF5 file with a group 'vars', as a weights file of Keras 3 has; wanted one layout"
        yield warning("FT-016", message, store.at)
