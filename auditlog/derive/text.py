"""Owns the text index: the words of a session, each thing once; a stage of its own, so that it never delays binding or the ledger.

System prompts and tool schemas are left out: they stand in every session and would find all of them.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, LiteralString

import psycopg

from auditlog.derive import read
from auditlog.derive.words import fold
from auditlog.reconstruct.scalars import scalars

log = logging.getLogger(__name__)

Build = Callable[[read.SessionFacts], dict[str, Any]]

PART_BYTES: Final = 96 * 1024  # of text per row: in the worst case (one-letter hosts and paths) ten times that is still below 1 MB
MOST: Final = 4 * 1024 * 1024  # characters of one session
_AT_ONCE: Final = 20
_REMEMBERED: Final = 32 * 1024 * 1024  # characters of sessions that were just summarised: their timeline is not made twice

_DUE: Final[LiteralString] = """
    SELECT s.key, s.project_id, coalesce(p.text_index, true) FROM session s LEFT JOIN project p ON p.id = s.project_id
    WHERE s.edition = %s AND s.text_due IS NOT NULL ORDER BY s.text_due LIMIT %s"""
_DONE: Final[LiteralString] = "UPDATE session SET text_due = NULL WHERE key = %s AND edition = %s"
_KNOWN: Final[LiteralString] = "SELECT n, digest FROM search_text WHERE session_key = %s AND edition = %s"
_FORGET: Final[LiteralString] = "DELETE FROM search_text WHERE session_key = %s AND edition = %s AND n = ANY(%s)"
_WRITE: Final[LiteralString] = """
    INSERT INTO search_text (edition, project_id, session_key, n, digest, tsv)
    SELECT %s, %s, %s, n, digest, to_tsvector('pg_catalog.simple', said)
    FROM unnest(%s::int[], %s::uuid[], %s::text[]) AS new (n, digest, said)"""
_ALL_DUE: Final[LiteralString] = "UPDATE session SET text_due = now() WHERE edition = %s AND project_id = %s AND text_due IS NULL"


def said(timeline: dict[str, Any]) -> Iterator[str]:
    """Every text of a timeline's steps, in order."""
    for step in timeline["steps"]:
        yield from _texts(step.get("text"))
        yield from _texts(step.get("detail"))
        tool = step.get("tool")
        if tool is not None:
            yield tool["name"]
            yield from _texts(tool["arguments"] if tool.get("arguments") is not None else tool.get("arguments_raw"))
            yield from _texts(tool.get("executed_arguments"))
            yield from _texts(tool.get("result"))
            yield from _texts(tool.get("error"))


def _texts(value: Any) -> Iterator[str]:
    """Decoded: in JSON text a word behind a line break would be another word ("\\nhello")."""
    for _, scalar in scalars(value):
        if not isinstance(scalar, bool):
            yield str(scalar) if isinstance(scalar, str | float) else f"{scalar:d}" if abs(scalar) < 10**64 else ""


def parts(timeline: dict[str, Any], most: int = MOST) -> tuple[list[str], bool]:
    """(folded texts of at most PART_BYTES, whether there was more than is indexed)."""
    whole: list[str] = []
    left = most
    for text in said(timeline):
        whole.append(fold(text[:left]))
        left -= len(text)
        if left <= 0:
            break
    return list(_split("\n".join(whole))), left < 0


def _split(text: str) -> Iterator[str]:
    data = text.encode("utf-8", "replace")
    start = 0
    while start < len(data):
        end = start + PART_BYTES
        if end < len(data):
            space = max(data.rfind(b" ", start, end), data.rfind(b"\n", start, end))
            end = space + 1 if space > start else end
        piece = data[start:end].decode("utf-8", "ignore").strip()
        if piece:
            yield piece
        start = end


class Texts:
    """What the summary stage read a moment ago, for the stage behind it; what was forgotten is read again from evidence."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, list[str]] = OrderedDict()
        self._size = 0

    def put(self, key: str, texts: list[str]) -> None:
        self.take(key)
        self._known[key] = texts
        self._size += sum(map(len, texts))
        while self._size > _REMEMBERED:
            self.take(next(iter(self._known)))

    def take(self, key: str) -> list[str] | None:
        texts = self._known.pop(key, None)
        self._size -= sum(map(len, texts or ()))
        return texts


def index_texts(conn: psycopg.Connection[Any], edition: int, texts: Texts, build: Build) -> int:
    """Indexes the words of a few sessions whose summary changed. Returns how many; 0: nothing is due."""
    due = conn.execute(_DUE, (edition, _AT_ONCE)).fetchall()
    for key, project_id, wanted in due:
        with conn.transaction():
            known = texts.take(key)
            if wanted and known is None:
                known = _read(conn, edition, project_id, key, build)
            _write(conn, edition, project_id, key, known if wanted and known else [])
            conn.execute(_DONE, (key, edition))
    return len(due)


def _read(conn: psycopg.Connection[Any], edition: int, project_id: int, key: str, build: Build) -> list[str]:
    facts = read.session_facts(conn.cursor(), edition, project_id, key)
    if facts is None:
        return []
    try:
        with conn.transaction():
            return parts(build(facts))[0]
    except psycopg.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - the summary stage says so in the session's `error`; other sessions go on
        log.error("derive.text_failed", extra={"session": key, "error_kind": type(error).__name__})
        return []


def _write(conn: psycopg.Connection[Any], edition: int, project_id: int, key: str, texts: list[str]) -> None:
    known = dict(conn.execute(_KNOWN, (key, edition)).fetchall())
    told = [uuid.UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest()) for text in texts]
    missing = [n for n, digest in enumerate(told) if known.get(n) != digest]
    if wrong := [n for n, digest in known.items() if n >= len(told) or told[n] != digest]:
        conn.execute(_FORGET, (key, edition, wrong))
    if missing:
        conn.execute(_WRITE, (edition, project_id, key, missing, [told[n] for n in missing], [texts[n] for n in missing]))


def index_again(conn: psycopg.Connection[Any], edition: int, project_id: int) -> int:
    """Every session of a project is looked at again: after its text index was switched on or off."""
    return conn.execute(_ALL_DUE, (edition, project_id)).rowcount


def lag(conn: psycopg.Connection[Any], edition: int) -> float:
    """Seconds that the oldest summary has waited for its words."""
    row = conn.execute(
        "SELECT extract(epoch FROM now() - min(text_due)) FROM session WHERE edition = %s AND text_due IS NOT NULL", (edition,)
    )
    found = row.fetchone()
    return max(float(found[0]), 0.0) if found and found[0] is not None else 0.0
