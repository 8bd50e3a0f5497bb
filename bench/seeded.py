"""Owns what is stored before a measurement begins: content and events of many other sessions, so that tables and indexes are large.

Rows are random bytes of the sizes that those of the load have, under keys shaped as real ones are: the pieces of a session lie together
by their prefix of four bytes, sessions anywhere; events lie by trace. They are of no batch and of no project, so that neither the pass nor
a resend nor an erasure ever meets them. In the end they are vacuumed, as autovacuum would do within a minute.
"""

from __future__ import annotations

import itertools
import os
import random
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

# the whole rows, in the order of their columns
COPY: Final = {"content": "COPY content FROM STDIN (FORMAT binary)", "event": "COPY event FROM STDIN (FORMAT binary)"}
_PIECES, _SPANS = 31, 16  # of a session of the load
_SIZES: Final = {"piece": (681, 166), "skeleton": (330, 44), "vals": (615, 230)}  # bytes as stored: mean, standard deviation
_GROUP: Final = 8  # sessions that arrive together; what they bring is sorted, as the writer sorts what a request brings
_HEADER, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_CONTENT: Final = struct.Struct(">hiii20sihiii")  # bucket, content_key, codec, key_id, length of bytes
_EVENT: Final = struct.Struct(">hi16siii16siqiiihiqiqi16si8s")  # trace_key, bucket, event_id, batch_no, ... span_id
_LENGTH: Final = struct.Struct(">i")


def fill(conn: psycopg.Connection[Any], pieces: int) -> int:
    """Stores so many pieces of content, and their sessions' events, in the bucket that was last written to; returns its number."""
    row = conn.execute("SELECT bucket FROM part ORDER BY batch_no DESC LIMIT 1").fetchone()
    if row is None:
        raise SystemExit("Send something first: the rows go where that went.")
    bucket, sessions = int(row[0]), -(-pieces // _PIECES)
    rng = random.Random(bucket)
    for table, rows in (("content", _content(rng, bucket, sessions)), ("event", _events(rng, bucket, sessions))):
        with conn.cursor().copy(COPY[table]) as copy:
            copy.write(_HEADER)
            for chunk in rows:
                copy.write(chunk)
            copy.write(_END)
    conn.commit()
    conn.autocommit = True
    conn.execute("VACUUM (ANALYZE) content, event")
    conn.execute("CHECKPOINT")
    conn.autocommit = False
    return bucket


def _size(rng: random.Random, kind: str) -> int:
    return max(100, int(rng.gauss(*_SIZES[kind])))


def _content(rng: random.Random, bucket: int, sessions: int) -> Iterator[bytes]:
    for first in range(0, sessions, _GROUP):
        prefixes = [os.urandom(4) for _ in range(min(_GROUP, sessions - first))]
        keys = sorted(prefix + os.urandom(16) for prefix in prefixes for _ in range(_PIECES))
        sizes = [_size(rng, "piece") for _ in keys]
        yield b"".join(
            _CONTENT.pack(5, 4, bucket, 20, key, 2, 1, 4, 0, size) + os.urandom(size) for key, size in zip(keys, sizes, strict=True)
        )


def _events(rng: random.Random, bucket: int, sessions: int) -> Iterator[bytes]:
    now = (datetime.now(UTC) - _EPOCH).total_seconds()
    for first in range(0, sessions, _GROUP):
        traces = [os.urandom(16) for _ in range(min(_GROUP, sessions - first))]
        places = sorted(itertools.chain.from_iterable(((trace, os.urandom(16)) for _ in range(_SPANS)) for trace in traces))
        yield b"".join(_event(rng, bucket, int(now * 1e6), trace, event) for trace, event in places)


def _event(rng: random.Random, bucket: int, now: int, trace: bytes, event: bytes) -> bytes:
    skeleton, vals = _size(rng, "skeleton"), _size(rng, "vals")
    head = _EVENT.pack(12, 16, trace, 4, bucket, 16, event, 8, 0, 4, 0, 2, 1, 8, now, 8, now, 16, trace, 8, event[:8])
    return head + _LENGTH.pack(skeleton) + os.urandom(skeleton) + _LENGTH.pack(vals) + os.urandom(vals)
