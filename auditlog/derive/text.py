"""Owns the text index: the words of a session, each thing once; a stage of its own, so that it never delays binding or the ledger."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, LiteralString

import psycopg

from auditlog.derive import read
from auditlog.derive.said import Part, parts

log = logging.getLogger(__name__)

Build = Callable[[read.SessionFacts], dict[str, Any]]

_AT_ONCE: Final = 20
_REMEMBERED: Final = 32 * 1024 * 1024  # characters and bytes of sessions that were just summarised: their timeline is not made twice

_DUE: Final[LiteralString] = """
    SELECT s.key, s.project_id, coalesce(p.text_index, true) FROM session s LEFT JOIN project p ON p.id = s.project_id
    WHERE s.edition = %s AND s.text_due IS NOT NULL ORDER BY s.text_due LIMIT %s"""
_DONE: Final[LiteralString] = "UPDATE session SET text_due = NULL WHERE key = ANY(%s) AND edition = %s"
_KNOWN: Final[LiteralString] = "SELECT session_key, n, digest FROM search_text WHERE session_key = ANY(%s) AND edition = %s"
_FORGET: Final[LiteralString] = """
    DELETE FROM search_text t USING unnest(%s::text[], %s::int[]) AS gone (key, n)
    WHERE t.session_key = gone.key AND t.n = gone.n AND t.edition = %s"""
_WRITE: Final[LiteralString] = """
    INSERT INTO search_text (edition, project_id, session_key, n, digest, tsv, texts)
    SELECT %s, project_id, session_key, n, digest, words::tsvector, texts
    FROM unnest(%s::int[], %s::text[], %s::int[], %s::uuid[], %s::text[], %s::bytea[])
      AS new (project_id, session_key, n, digest, words, texts)"""
_ALL_DUE: Final[LiteralString] = """
    UPDATE session SET text_due = now() WHERE edition = %s AND project_id = %s AND (text_due IS NULL OR text_due > now())"""


class Texts:
    """What the summary stage read a moment ago, for the stage behind it; what was forgotten is read again from evidence."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, list[Part]] = OrderedDict()
        self._size = 0

    def put(self, key: str, texts: list[Part]) -> None:
        self.take(key)
        self._known[key] = texts
        self._size += sum(text.size for text in texts)
        while self._size > _REMEMBERED:
            self.take(next(iter(self._known)))

    def take(self, key: str) -> list[Part] | None:
        texts = self._known.pop(key, None)
        self._size -= sum(text.size for text in texts or ())
        return texts


def index_texts(conn: psycopg.Connection[Any], edition: int, texts: Texts, build: Build) -> int:
    """Indexes the words of a few sessions whose summary changed. Returns how many; 0: nothing is due."""
    due = conn.execute(_DUE, (edition, _AT_ONCE)).fetchall()
    if due:
        with conn.transaction():
            found: dict[tuple[int, str], list[Part]] = {}
            for key, project_id, wanted in due:
                known = texts.take(key)
                if wanted and known is None:
                    known = _read(conn, edition, project_id, key, build)
                found[project_id, key] = known if wanted and known else []
            _write(conn, edition, found)
            conn.execute(_DONE, ([key for _, key in found], edition))
    return len(due)


def _read(conn: psycopg.Connection[Any], edition: int, project_id: int, key: str, build: Build) -> list[Part]:
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


def _write(conn: psycopg.Connection[Any], edition: int, found: dict[tuple[int, str], list[Part]]) -> None:
    known = {(key, n): digest for key, n, digest in conn.execute(_KNOWN, ([key for _, key in found], edition)).fetchall()}
    told = {(key, n): (project_id, part, _digest(part)) for (project_id, key), parts in found.items() for n, part in enumerate(parts)}
    if wrong := [place for place, digest in known.items() if place not in told or told[place][2] != digest]:
        conn.execute(_FORGET, ([key for key, _ in wrong], [n for _, n in wrong], edition))
    rows = [
        (project_id, key, n, digest, part.words, part.texts)
        for (key, n), (project_id, part, digest) in told.items()
        if known.get((key, n)) != digest
    ]
    if rows:
        conn.execute(_WRITE, (edition, *(list(column) for column in zip(*rows, strict=True))))


def _digest(part: Part) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.blake2b(part.words.encode() + part.texts, digest_size=16).digest())


def index_again(conn: psycopg.Connection[Any], edition: int, project_id: int) -> int:
    """Every session of a project is looked at again: after its text index was switched on or off."""
    return conn.execute(_ALL_DUE, (edition, project_id)).rowcount
