"""Owns how content bytes lie in the table: codecs, versioned, so that old rows stay readable without being moved.

Hashes, keys and commitments are over the bytes as sent; a codec is only how they lie on disk. Measured (docs/adr/002): zstd at
level 1 takes 39 % off conversations for 7.6 µs a piece of 1.1 KB.
"""

from __future__ import annotations

import threading
from typing import Final

import zstandard

PLAIN: Final = 0
ZSTD: Final = 1

_SMALL: Final = 400  # bytes below which compression costs more than it saves
_MAX: Final = 1 << 31


class _OfThread(threading.local):
    """A decompressor each: making one costs six times as much as a piece of 1 KB."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompress


_of_thread: Final = _OfThread()


class Compressor:
    """Not thread-safe; one per writer."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=1, write_content_size=True, write_checksum=False)

    def encode(self, data: bytes) -> tuple[int, bytes]:
        """(codec, bytes as stored)."""
        if len(data) < _SMALL:
            return PLAIN, data
        packed = self._zstd.compress(data)
        return (ZSTD, packed) if len(packed) < len(data) else (PLAIN, data)


def size_of(codec: int, stored: bytes) -> int:
    """How many bytes `decode` will give, without making them."""
    try:
        return max(0, zstandard.frame_content_size(stored)) if codec == ZSTD else len(stored)
    except zstandard.ZstdError:
        return 0  # damaged, which decode says


def decode(codec: int, stored: bytes) -> bytes:
    """The bytes as sent. Raises ValueError for a codec of a newer version or damaged bytes."""
    if codec == PLAIN:
        return stored
    if codec == ZSTD:
        try:
            return _of_thread.decompress(stored, max_output_size=_MAX)
        except zstandard.ZstdError as error:
            raise ValueError(f"content is damaged: {error}") from error
    raise ValueError(f"codec {codec} is of a newer version")
