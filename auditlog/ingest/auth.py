"""Owns who may send: an API key to its project, remembered for two seconds so that a revoked key ends almost at once."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import psycopg

from auditlog import keys, secrets
from auditlog.errors import Problem
from auditlog.store.connect import connect
from auditlog.store.writer import Project

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS: Final = 2.0
_LAST_USED_SECONDS: Final = 60.0
LOOK_UP_WITHIN: Final = 3.0  # seconds
_MOST: Final = 10_000  # keys remembered at once
_LOOK_UP: Final = """
SELECT k.id, k.secret_digest, k.scopes, k.expires_at, k.revoked_at, p.id, p.secret_wrapped, p.class_no, p.period
FROM api_key k JOIN project p ON p.id = k.project_id WHERE k.public_id = %s
"""
_USED: Final = """
UPDATE api_key SET last_used_at = now() WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""


class Caller(NamedTuple):
    """Who sends: the project that the evidence belongs to, and the key that opened the door."""

    project: Project
    key_id: int
    scopes: frozenset[str]


class _Known(NamedTuple):
    digest: bytes
    caller: Caller
    expires_at: datetime | None
    revoked_at: datetime | None
    until: float


def key_text(get: Callable[[str], str | None]) -> str:
    """The key of a request, from `authorization: Bearer` or `x-api-key`; the same names over HTTP and gRPC."""
    header = get("authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        if scheme.lower() == "bearer" and text.strip():
            return text.strip()
    text = get("x-api-key") or ""
    if text.strip():
        return text.strip()
    raise Problem("key_missing", "No API key was sent. Add the header `Authorization: Bearer <key>` or `x-api-key: <key>`.")


class Keys:
    """Looks keys up over one connection of its own; may be asked from any thread."""

    def __init__(self, open_connection: Callable[[], psycopg.Connection[Any]] | None = None) -> None:
        self._open = open_connection or _connection
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._touched: dict[int, float] = {}
        self._master: bytes | None = None

    def check(self, text: str, scope: str) -> Caller:
        """The caller. Raises Problem: no such key, no longer valid, wrong scope, or the database is away and the key not remembered."""
        return self.remembered(text, scope) or self._check(text, scope)

    def remembered(self, text: str, scope: str) -> Caller | None:
        """The caller without asking the database, or None."""
        known = self._known.get(keys.parse(text))
        if known is None or known.until < time.monotonic():
            return None
        return _judge(known, text, scope)

    def _check(self, text: str, scope: str) -> Caller:
        public_id = keys.parse(text)
        if not self._lock.acquire(timeout=LOOK_UP_WITHIN):
            raise away()
        try:
            known = self._look_up(public_id)
            if known is None:
                raise _unknown()
            caller = _judge(known, text, scope)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[public_id] = known
            self._touch(caller.key_id)
        finally:
            self._lock.release()
        return caller

    def _look_up(self, public_id: str) -> _Known | None:
        row = None
        for attempt in (1, 2):  # the first may fail only because the connection has gone stale
            try:
                if self._connection is None:
                    self._connection = self._open()
                row = self._connection.execute(_LOOK_UP, (public_id,)).fetchone()
                break
            except psycopg.Error as error:
                self._close()
                if attempt == 2:
                    raise away() from error
        if row is None:
            return None
        key_id, digest, scopes, expires_at, revoked_at, project_id, wrapped, class_no, period = row
        if self._master is None:
            self._master = secrets.master_key()
        project = Project(project_id, secrets.unwrap(bytes(wrapped), self._master), class_no, period)
        caller = Caller(project, key_id, frozenset(scopes))
        return _Known(bytes(digest), caller, expires_at, revoked_at, time.monotonic() + REMEMBERED_SECONDS)

    def _touch(self, key_id: int) -> None:
        now = time.monotonic()
        if self._connection is None or now - self._touched.get(key_id, -_LAST_USED_SECONDS) < _LAST_USED_SECONDS:
            return
        self._touched[key_id] = now
        try:
            self._connection.execute(_USED, (key_id,))
        except psycopg.Error as error:  # a note for people; whether evidence can be stored is for the writer to find out
            self._close()
            logger.warning("ingest.last_used_not_noted", extra={"key_id": key_id, "sqlstate": error.sqlstate})

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connection() -> psycopg.Connection[Any]:
    connection = connect("ingest", autocommit=True)
    connection.execute("SELECT set_config('statement_timeout', '3s', false), set_config('lock_timeout', '1s', false)")
    return connection


def away() -> Problem:
    return Problem("store_unavailable", "The database that holds the keys does not answer; send the batch again.")


def _unknown() -> Problem:
    return Problem("key_unknown", "The API key is not known here. Is it from another installation, or has its project been removed?")


def _judge(known: _Known, text: str, scope: str) -> Caller:
    if not hmac.compare_digest(known.digest, keys.digest(text)):
        raise _unknown()
    if known.revoked_at is not None:  # for good, also where this machine's clock is behind that of whoever revoked it
        raise Problem("key_revoked", f"The API key was revoked on {known.revoked_at:%Y-%m-%d}. Ask for a new one.")
    if known.expires_at is not None and known.expires_at <= datetime.now(UTC):
        raise Problem("key_expired", f"The API key expired on {known.expires_at:%Y-%m-%d}. Ask for a new one.")
    if scope not in known.caller.scopes:
        raise Problem("scope_missing", f"The API key has not the scope `{scope}`; use a key that has it.")
    return known.caller
