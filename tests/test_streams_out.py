"""What a stream gets that cannot seek (IO-016 to IO-018): the bytes of the file, in order, whatever kind of stream it is."""

from __future__ import annotations

import errno
import io
import os
import socket
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import GOLDEN, refused
from hypothesis import event, given, settings
from hypothesis import strategies as st

import refser
from refser.errors import AccessError, InvalidError
from refser.values import ByteRange, MemoryBytes, Model, Weight

TEXT = GOLDEN / "keras-3.15.1/text.keras"
LEGACY = GOLDEN / "keras-3.15.1/functional.legacy.h5"
CONFIG = GOLDEN / "keras-3.15.1/functional.json"
PLACES: dict[str, tuple[Path, str, dict[str, Any]]] = {  # what is saved, a name for the file, options
    "keras-zip": (TEXT, "m.keras", {}),
    "keras-zip, HDF5": (TEXT, "m.keras", {"hdf5_readable": True}),
    "weights-h5": (TEXT, "m.weights.h5", {}),
    "legacy-h5": (LEGACY, "m.h5", {}),
    "legacy-weights-h5": (LEGACY, "w.h5", {}),
    "config-json": (CONFIG, "m.json", {}),
}
places = pytest.mark.parametrize("place", PLACES)


def file_and_stream(place: str, folder: Path, stream: Any) -> bytes:
    """Save to a file and to the stream; the file's bytes."""
    source, name, options = PLACES[place]
    layout = place.partition(",")[0]
    model = refser.load(source)
    refser.save(model, folder / name, layout=layout, **options)
    refser.save(model, stream, layout=layout, **options)
    return (folder / name).read_bytes()


class Pipe:
    """Takes bytes, as many at a time as `takes` says, and fails a test that asks for anything else."""

    def __init__(self, takes: Callable[[int], Any] = lambda length: length) -> None:
        self.pieces, self.takes = list[bytes](), takes

    def write(self, data: Any) -> Any:
        taken = self.takes(len(data))
        self.pieces.append(bytes(data[:taken]))
        return taken

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def __getattr__(self, name: str) -> Any:
        if name in ("flush", "name"):
            raise AttributeError(name)
        raise AssertionError(f"{name} was asked for")


class Raw(io.RawIOBase):
    """A raw stream that answers what it is told to."""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self.data, self.answer, self.calls = b"", answer, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> Any:
        self.calls += 1
        taken = self.answer(len(data))
        self.data += bytes(data[: taken or 0])
        return taken


@places
def test_io016_a_stream_gets_the_bytes_of_the_file(place: str, tmp_path: Path) -> None:
    whole, short, silent, buffered = Pipe(), Raw(lambda length: min(length, 777)), Pipe(lambda length: None), io.BytesIO()
    for number, stream in enumerate((whole, short, silent, buffered)):
        (tmp_path / str(number)).mkdir()
        want = file_and_stream(place, tmp_path / str(number), stream)
        assert (stream.getvalue() if isinstance(stream, io.BytesIO) else stream.data) == want
    assert not short.closed
    assert not buffered.closed


@places
def test_io016_what_is_in_a_stream_already_is_left_alone(place: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    stream.write(b"HTTP/1.1 200 OK\r\n\r\n")
    want = file_and_stream(place, tmp_path, stream)
    assert stream.getvalue() == b"HTTP/1.1 200 OK\r\n\r\n" + want
    assert stream.tell() == len(stream.getvalue())


@places
@pytest.mark.parametrize("kind", ["pipe", "raw pipe", "socket", "zip"])
def test_io016_pipes_sockets_and_members_of_a_zip_are_streams(place: str, kind: str, tmp_path: Path) -> None:
    got = bytearray()

    def drain(read: Callable[[int], bytes]) -> threading.Thread:
        def work() -> None:
            while piece := read(4096):
                got.extend(piece)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "o.zip", "w") as outer, outer.open("inner", "w") as stream:
            want = file_and_stream(place, tmp_path, stream)
        with zipfile.ZipFile(tmp_path / "o.zip") as outer:
            assert outer.read("inner") == want
        return
    if kind == "socket":
        first, second = socket.socketpair()
        thread = drain(second.recv)
        with first, first.makefile("wb") as sender:
            want = file_and_stream(place, tmp_path, sender)
            first.shutdown(socket.SHUT_WR)
            thread.join()
        second.close()
    else:
        read, write = os.pipe()
        thread = drain(lambda length: os.read(read, length))
        with open(write, "wb", buffering=0 if kind == "raw pipe" else -1) as end:
            want = file_and_stream(place, tmp_path, end)
        thread.join()
        os.close(read)
    assert bytes(got) == want


shapes = st.lists(st.integers(0, 40), max_size=3).map(tuple)
arrays = st.dictionaries(st.sampled_from([f"layers/{a}/vars/{n}" for a in "abé" for n in range(3)]), shapes, max_size=6)


@settings(max_examples=60, deadline=None)
@given(shapes=arrays, steps=st.lists(st.integers(1, 5000), min_size=1, max_size=5), readable=st.booleans())
def test_io016_any_model_in_any_pieces(
    shapes: dict[str, tuple[int, ...]], steps: list[int], readable: bool, tmp_path_factory: Any
) -> None:
    """IO-017: what a stream did not take of some bytes, it gets again."""
    values = {path: np.arange(np.prod(shape, dtype=int), dtype="<f4").reshape(shape) for path, shape in shapes.items()}
    model = Model(config_json="{}", assets={"a": b"x" * 9000}, weights={p: Weight.from_array(p, a) for p, a in values.items()})
    path = tmp_path_factory.mktemp("any") / "m.keras"
    calls = iter(range(1 << 30))
    stream = Raw(lambda length: min(length, steps[next(calls) % len(steps)]))
    refser.save(model, path, hdf5_readable=readable)
    refser.save(model, stream, hdf5_readable=readable)
    assert stream.data == path.read_bytes()
    event("in one piece" if stream.calls == 1 else "in many")


def test_io016_weights_alone_go_to_a_stream_too(tmp_path: Path) -> None:
    weights = {"layers/dense/vars/0": np.ones((2, 3), "f4")}
    stream = Pipe()
    refser.save_weights(weights, stream)
    refser.save_weights(weights, tmp_path / "m.weights.h5")
    assert stream.data == (tmp_path / "m.weights.h5").read_bytes()
    with refused("SH-008", InvalidError):
        refser.save_weights(weights, stream, max_shard_size=1)


def test_io016_an_open_file_goes_to_a_stream(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with refser.open(TEXT) as file:
        refser.save(file, stream, overwrite=True)
    assert refser.load(io.BytesIO(stream.getvalue())) == refser.load(TEXT)


def test_kz018_an_archive_in_a_stream_has_its_checksums_in_front() -> None:
    pipe = Pipe()
    refser.save(refser.load(TEXT), pipe)
    with zipfile.ZipFile(io.BytesIO(pipe.data)) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.flag_bits & 8 == 0
            assert pipe.data[info.header_offset + 14 :][:4] == info.CRC.to_bytes(4, "little")


@pytest.mark.parametrize("layout", ["keras-dir", "weights-sharded"])
def test_io016_a_stream_takes_no_layout_of_several_files(layout: str) -> None:
    stream = Pipe()
    with refused("IO-016", InvalidError) as caught:
        refser.save(refser.load(TEXT), stream, layout=layout)
    assert "keras-zip" in caught.value.problem.hint
    assert stream.pieces == []


@pytest.mark.parametrize(
    ("source", "want"),
    [
        (TEXT, "keras-zip"),
        (GOLDEN / "keras-3.15.1/sequential.weights.h5", "weights-h5"),
        (LEGACY, "legacy-h5"),
        (GOLDEN / "keras-3.15.1/sequential.legacy_weights.h5", "legacy-weights-h5"),
    ],
)
def test_io018_the_layout_follows_the_model(source: Path, want: str) -> None:
    stream = io.BytesIO()
    refser.save(refser.load(source), stream)
    with refser.open(stream) as file:
        assert file.layout == want
        assert file.weights == refser.load(source).weights


def test_io016_a_model_that_cannot_be_written_leaves_the_stream_alone() -> None:
    stream = Pipe()
    for model, options, code in (
        (Model(weights={}, config_json="{"), {}, "JS-002"),
        (Model(), {"layout": "keras-zip"}, "KZ-009"),
        (Model(), {"layout": "odd"}, "IO-010"),
        (refser.load(LEGACY), {"layout": "keras-zip"}, "IO-010"),
        (refser.load(TEXT), {"layout": "weights-h5", "hdf5_readable": True}, "KZ-019"),
    ):
        with refused(code):
            refser.save(model, stream, **options)
    with pytest.raises(TypeError):
        refser.save({}, stream)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        refser.save(Model(config_json="{}"), 1)  # type: ignore[arg-type]
    assert stream.pieces == []


def test_io016_a_path_that_has_a_method_write_is_a_path(tmp_path: Path) -> None:
    class Odd(type(tmp_path)):  # type: ignore[misc]
        def write(self, data: bytes) -> None:
            raise AssertionError

    refser.save(refser.load(TEXT), Odd(tmp_path / "m.keras"))
    refser.save_weights({"vars/0": np.zeros(1)}, Odd(tmp_path / "m.weights.h5"))
    assert refser.load(tmp_path / "m.keras") == refser.load(TEXT)


def closed() -> Any:
    stream = io.BytesIO()
    stream.close()
    return stream


def failing(error: BaseException) -> Any:
    def answer(length: int) -> int:
        raise error

    return Pipe(answer)


@pytest.mark.parametrize(
    "make",
    [
        lambda: failing(OSError(errno.ENOSPC, "No space left on device")),
        lambda: failing(BrokenPipeError(errno.EPIPE, "Broken pipe")),
        lambda: failing(RuntimeError("of a library of its own")),
        lambda: Pipe(lambda length: 0),
        lambda: Pipe(lambda length: -1),
        lambda: Pipe(lambda length: length + 1),
        lambda: Pipe(lambda length: "all"),
        lambda: Raw(lambda length: None),
        lambda: TEXT.open("rb"),
        io.StringIO,
        closed,
    ],
)
def test_io017_a_stream_that_fails_is_told(make: Callable[[], Any]) -> None:
    stream = make()
    with refused("IO-017", AccessError) as caught:
        refser.save(refser.load(TEXT), stream)
    assert "cannot be written" in caught.value.problem.message
    if isinstance(stream, Raw):
        assert stream.calls == 1  # once it has failed, it is left alone
    stream.close() if isinstance(stream, io.IOBase) else None


class Flushed(Pipe):
    error: BaseException | None = None
    flushed = 0

    def flush(self) -> None:
        self.flushed += 1
        if self.error is not None:
            raise self.error


def test_io017_a_stream_is_flushed_and_what_that_says_is_told() -> None:
    stream = Flushed()
    refser.save(refser.load(TEXT), stream)
    assert stream.flushed == 1
    stream.error = OSError(errno.ENOSPC, "No space left on device")
    with refused("IO-017", AccessError) as caught:
        refser.save(refser.load(TEXT), stream)
    assert caught.value.problem.message.endswith("no space left on device")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_io017_what_is_no_fault_of_the_stream_passes(error: BaseException) -> None:
    model = refser.load(TEXT)
    path, weight = next(iter(model.weights.items()))

    class Failing:
        def view(self, offset: int, length: int) -> memoryview:
            raise error

    broken = replace(weight, source=ByteRange(Failing(), 0, weight.nbytes))
    stream = Flushed()
    with pytest.raises(type(error)) as caught:
        refser.save(replace(model, weights={**model.weights, path: broken}), stream, layout="weights-h5")
    assert caught.value is error
    assert stream.flushed == 0
    with pytest.raises(KeyboardInterrupt):
        refser.save(model, failing(KeyboardInterrupt()))


def test_kz008_values_that_change_between_the_two_readings_are_told() -> None:
    """The CRC-32 stands before the data, so each array is read for it first."""
    views = iter([b"old!", b"new!"])

    class Changing:
        def view(self, offset: int, length: int) -> memoryview:
            return memoryview(next(views))

    weight = Weight(path="vars/0", dtype="uint8", shape=(4,), source=ByteRange(Changing(), 0, 4))
    with refused("KZ-008", InvalidError):
        refser.save(Model(config_json="{}", weights={"vars/0": weight}), Pipe())


class Counter:
    """Keeps nothing but how many bytes it got, and the most at once."""

    def __init__(self) -> None:
        self.size = self.most = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.most = max(self.most, len(data))


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layout", ["keras-zip", "weights-h5"])
@pytest.mark.parametrize("count", [1, 64])
def test_io016_no_copy_of_the_weights_is_made(layout: str, count: int, tmp_path: Path) -> None:
    block = memoryview(np.zeros((64 << 20) // count, "u1")).toreadonly()
    sources = {f"layers/d{n}/vars/0": ByteRange(MemoryBytes(block), 0, len(block)) for n in range(count)}
    weights = {path: Weight(path=path, dtype="uint8", shape=(len(block),), source=at) for path, at in sources.items()}
    model, stream = Model(config_json="{}", weights=weights), Counter()
    refser.save(Model(config_json="{}"), Counter())  # imports what it needs
    assert peak(lambda: refser.save(model, stream, layout=layout)) < 8 << 20
    assert stream.size > 64 << 20
    assert stream.most <= 2 << 20
    assert peak(lambda: refser.save(model, tmp_path / "m", layout=layout)) < 8 << 20


def test_io016_what_a_stream_keeps_stays_as_it_was() -> None:
    """A queue between threads, for one: its reader comes later."""
    kept: list[Any] = []

    class Queue:
        def write(self, data: Any) -> None:
            kept.append(data)

    values = np.arange(5 << 20, dtype="u1")
    want = io.BytesIO()
    refser.save_weights({"vars/0": values}, want)
    refser.save_weights({"vars/0": values}, Queue())
    values[:] = 0
    assert b"".join(kept) == want.getvalue()
    assert {type(piece) for piece in kept} == {bytes}


@pytest.fixture(autouse=True)
def _no_threads_are_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() <= before
