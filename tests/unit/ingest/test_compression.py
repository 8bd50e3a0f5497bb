"""Owns the encodings of a body: each gives back what was packed, and none gives more than the limit."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard

from auditlog.errors import Problem
from auditlog.ingest import compression

LIMIT = 1_000_000
DATA = b"abc" * 100_000


def _zstd_stream(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "zstd that says its size": ("zstd", zstandard.ZstdCompressor().compress),
    "zstd that does not": ("zstd", _zstd_stream),
}
every = pytest.mark.parametrize("how", PACK)


def code_of(body: bytes, encoding: str) -> str:
    with pytest.raises(Problem) as problem:
        compression.expand(body, encoding, LIMIT)
    return problem.value.code


@every
def test_what_was_packed_comes_back(how: str) -> None:
    encoding, pack = PACK[how]
    for data in (b"", b"x", DATA, b"\0" * LIMIT):
        assert compression.expand(pack(data), encoding, LIMIT) == data


@every
def test_one_byte_over_the_limit_is_too_large(how: str) -> None:
    encoding, pack = PACK[how]
    assert code_of(pack(b"\0" * (LIMIT + 1)), encoding) == "body_too_large"


@every
def test_a_body_cut_off_anywhere_is_broken(how: str) -> None:
    encoding, pack = PACK[how]
    body = pack(bytes(range(256)) * 4)
    for size in range(len(body)):
        assert code_of(body[:size], encoding) == "compression_broken"


@every
def test_what_is_not_packed_is_broken(how: str) -> None:
    assert code_of(b"not packed at all", PACK[how][0]) == "compression_broken"


@every
def test_several_members_are_read_to_the_last(how: str) -> None:
    encoding, pack = PACK[how]
    body = pack(b"a" * 10) + pack(b"b" * 10)
    if encoding == "deflate":
        assert code_of(body, encoding) == "compression_broken"
    else:
        assert compression.expand(body, encoding, LIMIT) == b"a" * 10 + b"b" * 10


def test_bombs_in_many_members_stop_at_the_limit() -> None:
    assert code_of(gzip.compress(b"\0" * 600_000) * 50, "gzip") == "body_too_large"
    assert code_of(_zstd_stream(b"\0" * 600_000) * 50, "zstd") == "body_too_large"


@every
def test_a_bomb_takes_little_memory(how: str) -> None:
    encoding, pack = PACK[how]
    body = pack(b"\0" * 200_000_000)
    tracemalloc.start()
    assert code_of(body, encoding) == "body_too_large"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


def test_a_zstd_window_beyond_8_mib_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = compressor.compress(b"x" * 100_000) + compressor.flush()
    assert code_of(body, "zstd") == "compression_broken"


@pytest.mark.parametrize("header", ["br", "gzip, gzip", "gzip,zstd", "compress", "gzip;q=1"])
def test_unknown_encodings_and_two_at_once_are_refused(header: str) -> None:
    with pytest.raises(Problem) as problem:
        compression.encoding_of(header)
    assert problem.value.code == "content_encoding_unsupported"


@pytest.mark.parametrize(
    ("header", "encoding"), [(None, "identity"), ("", "identity"), ("GZIP", "gzip"), ("x-gzip", "gzip"), (" zstd ", "zstd")]
)
def test_encodings_are_known_in_any_case(header: str | None, encoding: str) -> None:
    assert compression.encoding_of(header) == encoding


@pytest.mark.parametrize("padding", [0, 1, 700_000])
def test_members_are_read_one_after_the_other_wherever_they_end(padding: int) -> None:
    noise = [random.Random(seed).randbytes(700_000) for seed in range(3)]
    body = b"".join(gzip.compress(one) + bytes(padding) for one in noise)
    assert compression.expand(body, "gzip", 3_000_000) == b"".join(noise)


@pytest.mark.parametrize("encoding, empty", [("gzip", gzip.compress(b"")), ("zstd", zstandard.ZstdCompressor().compress(b""))])
def test_a_body_of_a_great_many_empty_members_is_refused_before_it_costs_anything(encoding: str, empty: bytes) -> None:
    assert compression.expand(empty * 1_000, encoding, LIMIT) == b""
    assert code_of(empty * 1_001, encoding) == "compression_broken"
