"""Owns the unpacking of request bodies: a few lines per encoding, and never more bytes than the limit, whatever a bomb promises."""

from __future__ import annotations

import re
import zlib
from typing import Final

import zstandard

from auditlog.errors import Problem

ENCODINGS: Final = ("identity", "gzip", "deflate", "zstd")
_WINDOW: Final = 8 * 1024 * 1024  # a decoder must hold a whole window; RFC 8878 recommends 8 MiB as what everybody supports
_SLICE: Final = 512  # zstd expands at most 32,768 times, so that one slice makes 16 MiB at most beyond the limit
_ZLIB_SLICE: Final = 1024 * 1024  # what follows a member is copied by zlib: a slice, not the whole rest of the body
_MEMBERS: Final = 1_000  # gzip members or zstd frames of one body; empty ones cost a sender some ten bytes and us a decoder each
_ZEROS: Final = re.compile(rb"\0*")


def encoding_of(header: str | None) -> str:
    """The one encoding a body has. Raises Problem for an unknown one, and for two: nobody sends that who can be understood."""
    name = (header or "identity").strip().lower()
    name = {"": "identity", "x-gzip": "gzip"}.get(name, name)
    if name not in ENCODINGS:
        raise Problem("content_encoding_unsupported", f"Content-Encoding {name!r:.60} is unknown; send one of {', '.join(ENCODINGS)}.")
    return name


def too_large(limit: int) -> Problem:
    return Problem("body_too_large", f"The body is larger than {limit} bytes (after decompression); send smaller batches.")


def expand(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before compression. Raises Problem: larger than the limit, damaged, or cut off."""
    if encoding == "identity":
        if len(body) > limit:
            raise too_large(limit)
        return body
    try:
        return _zstd(body, limit) if encoding == "zstd" else _zlib(body, encoding, limit)
    except (zlib.error, zstandard.ZstdError) as error:
        raise Problem("compression_broken", f"The body is not valid {encoding}: {error}.") from None


def _cut(encoding: str) -> Problem:
    return Problem("compression_broken", f"The {encoding} body ends in the middle; it was cut off on the way. Send it again whole.")


def _too_many(encoding: str) -> Problem:
    return Problem("compression_broken", f"The body has more than {_MEMBERS} {encoding} members one after the other; send one.")


def _zlib(body: bytes, encoding: str, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit + 1  # one more than allowed is enough to know
    view = memoryview(body)
    at = 0
    for _ in range(_MEMBERS):
        member = zlib.decompressobj(31 if encoding == "gzip" else 15)
        while at < len(body) and not member.eof:
            part = member.decompress(view[at : at + _ZLIB_SLICE], room)
            at += _ZLIB_SLICE
            room -= len(part)
            if room <= 0:
                raise too_large(limit)
            parts.append(part)
        if not member.eof:
            raise _cut(encoding)
        at = min(at, len(body)) - len(member.unused_data)
        padding = _ZEROS.match(body, at)  # a gzip file may be padded with zeros
        at = padding.end() if padding else at
        if at == len(body):
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if encoding == "deflate":
            raise Problem("compression_broken", "Bytes follow after the end of the deflate stream.")
    raise _too_many(encoding)


def _zstd(body: bytes, limit: int) -> bytes:
    known = zstandard.frame_content_size(body)
    if known > limit:
        raise too_large(limit)
    context = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    parts: list[bytes] = []
    total = at = 0
    for _ in range(_MEMBERS):
        frame = context.decompressobj()
        while at < len(body) and not frame.eof:
            part = frame.decompress(body[at : at + _SLICE])
            at += _SLICE
            total += len(part)
            if total > limit:
                raise too_large(limit)
            parts.append(part)
        if not frame.eof:
            raise _cut("zstd")
        at = min(at, len(body)) - len(frame.unused_data)
        if at == len(body):
            return b"".join(parts)
    raise _too_many("zstd")
