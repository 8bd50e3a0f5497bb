"""Owns how far the log is behind, and whether anybody seals: of one project for its status, of all for metrics and the page of the log."""

from __future__ import annotations

from typing import Final, NamedTuple

from auditlog.derive.waiting import Cursor
from auditlog.seal import sql
from auditlog.seal.refusal import HELD, LOCK, PRESENT, Why

MOST: Final = 100_000  # batches that are counted


class Unsealed(NamedTuple):
    """Committed batches without a leaf, counted up to MOST, and the age of the oldest in seconds."""

    batches: int
    lag: float


class Sealers(NamedTuple):
    """Whether a sealer is at work, and why it signs nothing."""

    running: bool
    refused: Why | None


def unsealed(cursor: Cursor, project_id: int | None = None) -> Unsealed:
    cursor.execute(sql.LAST, {})
    watermark, system_id = cursor.fetchone()
    known = {"project_id": project_id, "system_id": system_id, "watermark": watermark, "limit": MOST}
    cursor.execute(sql.UNSEALED_OF_ALL if watermark is None else sql.UNSEALED, known)
    batches, lag = cursor.fetchone()
    return Unsealed(int(batches), max(float(lag), 0.0))


def sealers(cursor: Cursor) -> Sealers:
    """As their advisory locks say, on whichever machine they are."""
    cursor.execute(HELD, {"lock": LOCK})
    held = set()
    while (row := cursor.fetchone()) is not None:
        held.add(int(row[0]))
    return Sealers(PRESENT in held, next((why for why in Why if why in held), None))
