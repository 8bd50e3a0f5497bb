"""Owns that the index by batch number knows what was written last: without it every look for a batch reads all that it does not know."""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg

_SUM_UP: Final[LiteralString] = """
    SELECT b.bucket, summarize_ranges(b.bucket, k.page) FROM bucket b
    LEFT JOIN unnest(%s::int[], %s::bigint[]) AS k (bucket, page) USING (bucket) WHERE b.state = 'open'"""


class Ranges:
    """Of every open bucket. One process keeps it up (the background pass); what is missed costs time and nothing else."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self._pages: dict[int, int | None] = {}

    def catch_up(self) -> None:
        """Sums up what was written since the last time, 0.7 µs of PostgreSQL an event; at first, whatever is not summed up."""
        found = self._conn.execute(_SUM_UP, (list(self._pages), list(self._pages.values()))).fetchall()
        self._pages = dict(found)
