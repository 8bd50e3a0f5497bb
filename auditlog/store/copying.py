"""Owns events as rows in PostgreSQL's binary format, as the writer's statement takes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from auditlog.store.pack import Packed

_PG_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_PG_EPOCH_US: Final = 946_684_800_000_000
_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
_HEAD: Final = struct.Struct(">hi16siii16siqiiih")
_TIME: Final = struct.Struct(">iq")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
_MICROSECOND: Final = timedelta(microseconds=1)


def rows_of(events: Sequence[Packed], bucket: int, batch_no: int, project_id: int, received_at: datetime) -> bytes:
    """The events as PostgreSQL's binary COPY format (documented with COPY), which costs half of writing them value by value."""
    received = (received_at - _PG_EPOCH) // _MICROSECOND
    out = [_COPY_HEADER]
    for event in events:
        # 12 columns: trace_key, bucket, event_id, batch_no, project_id, item, ...
        out.append(_HEAD.pack(12, 16, event.trace_key, 4, bucket, 16, event.event_id, 8, batch_no, 4, project_id, 2, event.item))
        occurred = event.occurred_ns
        out.append(_NULL if occurred is None else _TIME.pack(8, occurred // 1000 - _PG_EPOCH_US))
        out.append(_TIME.pack(8, received))
        for data in (event.trace_id or None, event.span_id or None, event.skeleton, event.vals):
            out += (_NULL,) if data is None else (_LENGTH.pack(len(data)), data)
    out.append(_COPY_END)
    return b"".join(out)
