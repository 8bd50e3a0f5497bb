"""Owns reading tables of retention over any connection: Django's hands out JSON as text, others as what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.types.json import JsonbLoader


def rows(conn: psycopg.Connection[Any], query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        return cursor.execute(query.encode(), values).fetchall()


def one(conn: psycopg.Connection[Any], query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
    """The first row, or None."""
    return next(iter(rows(conn, query, values)), None)
