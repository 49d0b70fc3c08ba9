"""Files that are elsewhere: how many requests and bytes it takes to list them, over HTTP and from any file object."""

from __future__ import annotations

import http.server
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import refused

import refser
from refser.errors import AccessError

GOLDEN = Path(__file__).parent / "golden" / "keras-3.15.1"
CONFIG = '{"class_name": "A", "config": {}}'


class Reads(io.BytesIO):
    """A file object that remembers what was read of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.log: list[tuple[int, int]] = []

    def read(self, size: int | None = -1, /) -> bytes:
        at, data = self.tell(), super().read(size)
        self.log.append((at, len(data)))
        return data


@contextmanager
def served(data: bytes) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """The URL of a server that has `data` and knows ranges, and its log: method, bytes sent."""
    log: list[tuple[str, int]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(b"", 200, len(data))

        def do_GET(self) -> None:
            if self.path != "/model.keras":
                self.answer(b"", 404, 0)
                return
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked is None:
                self.answer(data, 200, len(data))
                return
            first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
            self.answer(data[first : last + 1], 206, last + 1 - first, f"bytes {first}-{last}/{len(data)}")

        def answer(self, body: bytes, status: int, length: int, content_range: str = "") -> None:
            log.append((self.command, len(body)))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.send_header("Accept-Ranges", "bytes")
            if content_range:
                self.send_header("Content-Range", content_range)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/model.keras", log
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def many(folder: Path, count: int, length: int) -> Path:
    path = folder / f"{count}.keras"
    arrays = {f"layers/dense_{i // 2}/vars/{i % 2}": np.full(length, i, "f4") for i in range(count)}
    weights = {name: refser.Weight.from_array(name, array) for name, array in arrays.items()}
    refser.save(refser.Model(config_json=CONFIG, weights=weights), path)
    return path


@pytest.mark.parametrize(("count", "length"), [(20, 500_000), (2000, 5_000), (5000, 2_000)])
def test_io013_h5070_listing_what_refser_wrote_takes_four_requests(tmp_path: Path, count: int, length: int) -> None:
    pytest.importorskip("aiohttp")
    data = many(tmp_path, count, length).read_bytes()
    with served(data) as (url, log), refser.open(url) as file:
        assert len(file.weights) == count
        assert len([entry for entry in log if entry[0] == "GET"]) <= 4
        metadata = count * 1400 + (1 << 19)  # what describes the arrays, and whole pages
        assert sum(sent for _, sent in log) <= metadata
        log.clear()
        weight = file.weights["layers/dense_3/vars/1"]
        assert weight.array()[0] == 7
        assert [sent for _, sent in log] == [4 * length] or 4 * length <= 1 << 18
        assert sum(sent for _, sent in log) <= max(4 * length, 1 << 18)


def test_h5070_a_long_config_takes_no_request_more(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    path = tmp_path / "long.keras"
    config = CONFIG[:-1] + f', "build_config": {{"note": "{"x" * 600_000}"}}}}'
    weights = {f"layers/dense/vars/{n}": refser.Weight.from_array(f"layers/dense/vars/{n}", np.ones(5000)) for n in range(9)}
    refser.save(refser.Model(config_json=config, weights=weights), path)
    with served(path.read_bytes()) as (url, log), refser.open(url) as file:
        assert (len(file.weights), file.config_json) == (9, config)
        assert len([entry for entry in log if entry[0] == "GET"]) <= 4


def test_io013_a_file_of_keras_is_listed_without_its_arrays() -> None:
    path = GOLDEN / "functional.keras"
    stream = Reads(path.read_bytes())
    with refser.open(path) as near, refser.open(stream) as far:
        assert far.layout == near.layout
        assert list(far.weights) == list(near.weights)
        assert far.load() == near.load()


@pytest.mark.parametrize("name", ["functional.weights.h5", "many.legacy.h5", "text.keras", "functional.json"])
def test_io013_any_seekable_file_opens(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    with refser.open(io.BytesIO(data)) as file, refser.open(GOLDEN / name) as near:
        assert file.load() == near.load()
    with open(GOLDEN / name, "rb") as handle:
        assert refser.load(handle) == refser.load(GOLDEN / name)


def test_io013_a_far_array_is_read_alone(tmp_path: Path) -> None:
    stream = Reads(many(tmp_path, 40, 400_000).read_bytes())
    with refser.open(stream) as file:
        stream.log.clear()
        weight = file.weights["layers/dense_3/vars/1"]
        weight.array()
        assert [length for _, length in stream.log] == [weight.nbytes]


class Odd(io.BytesIO):
    """What `seek` gives or raises."""

    def __init__(self, found: object) -> None:
        super().__init__(bytes(100))
        self.found = found

    def seek(self, offset: int, whence: int = 0) -> int:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found  # type: ignore[return-value]

    def tell(self) -> int:
        return self.found  # type: ignore[return-value]


@pytest.mark.parametrize(
    "stream",
    [io.StringIO('{"class_name": 1}'), Odd(RuntimeError("no")), Odd(None), Odd(-5), Odd(1.5)],
    ids=["text", "raises", "no size", "negative", "float"],
)
def test_io014_what_is_no_binary_file_is_told(stream: io.BytesIO) -> None:
    with refused("IO-014", AccessError):
        refser.open(stream)


def test_io014_a_stream_that_is_closed_or_cannot_seek_is_told() -> None:
    stream = io.BytesIO((GOLDEN / "functional.keras").read_bytes())
    file = refser.open(stream)
    stream.close()
    with refused("IO-014", AccessError):
        refser.open(stream)
    file.close()


def test_io015_a_url_with_nothing_behind_it_is_told() -> None:
    pytest.importorskip("aiohttp")
    with served(b"x" * 100) as (url, _), pytest.raises(AccessError):
        refser.open(url.replace("model", "other"))
