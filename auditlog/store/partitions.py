"""Owns buckets: which one a moment of receipt falls into, and that its partitions exist before they are needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from auditlog.errors import Problem

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


class Bucket(NamedTuple):
    number: int  # class << 16 | days from 2020-01-01 to the period's start; schema.sql computes the same
    class_no: int
    starts: datetime
    ends: datetime


def bucket_at(class_no: int, period: str, received_at: datetime) -> Bucket:
    """The bucket of a retention class at a moment of receipt. period: "day" or "month", in UTC.

    Raises Problem("store_unavailable") where this machine's clock is before 2020: negative days are the same number for every class, and
    the shortest class would take what the others keep with it.
    """
    if received_at < _EPOCH:
        message = f"This machine's clock says {received_at:%Y-%m-%d}, which cannot be. Nothing is stored until it is set right."
        raise Problem("store_unavailable", message)
    day = received_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        starts, ends = day, day + timedelta(days=1)
    elif period == "month":
        starts = day.replace(day=1)
        ends = (starts + timedelta(days=32)).replace(day=1)
    else:
        raise ValueError(f"period {period!r} is not 'day' or 'month'")
    return Bucket(class_no << 16 | (starts - _EPOCH).days, class_no, starts, ends)


def ensure(conn: psycopg.Connection[Any], bucket: Bucket) -> bool:
    """Makes the partitions of a bucket unless they are there; True if it made them. In a transaction of its own."""
    row = conn.execute("SELECT ensure_bucket(%s, %s, %s)", (bucket.class_no, bucket.starts, bucket.ends)).fetchone()
    conn.commit()
    return bool(row and row[0])


def ensure_ahead(conn: psycopg.Connection[Any], class_no: int, period: str, now: datetime) -> list[int]:
    """Makes the current bucket and the next two, so that ingest never waits for DDL at the turn of a period."""
    made, at = [], now
    for _ in range(3):
        bucket = bucket_at(class_no, period, at)
        if ensure(conn, bucket):
            made.append(bucket.number)
        at = bucket.ends
    return made
