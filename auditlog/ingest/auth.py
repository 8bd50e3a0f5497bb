"""Owns who may send: an API key to its project, remembered for two seconds so that a revoked key ends almost at once."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, NamedTuple, TypeVar

import psycopg

from auditlog import governance, keys, metrics, secrets
from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.store import kept
from auditlog.store.connect import connect
from auditlog.store.writer import Project

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS: Final = 2.0
_LAST_USED_SECONDS: Final = 60.0
LOOK_UP_WITHIN: Final = 3.0  # seconds
STRANGERS: Final = 16  # keys never seen here that are looked up at once; a look-up takes less than a millisecond
_MOST: Final = 10_000  # keys remembered at once
_LOOK_UP: Final = f"""
SELECT k.id, k.secret_digest, k.scopes, k.expires_at, k.revoked_at, p.id, p.secret_wrapped, coalesce(k.class_no, p.class_no), p.period,
       (SELECT max(c.version) FROM retention_class c WHERE c.class_no = coalesce(k.class_no, p.class_no) AND c.in_force_at IS NOT NULL),
       {kept.RULES}, k.name, k.last_used_at
FROM api_key k JOIN project p ON p.id = k.project_id WHERE k.public_id = %s
"""
_USED: Final = """
UPDATE api_key SET last_used_at = now() WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""

T = TypeVar("T")


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
    name: str
    last_used_at: datetime | None


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


class _Way:
    """To the keys in the database: one connection, and the one thread that uses it."""

    def __init__(self, open_connection: Callable[[], psycopg.Connection[Any]], name: str) -> None:
        self._open = open_connection
        self._connection: psycopg.Connection[Any] | None = None
        self.pool: Final = ThreadPoolExecutor(1, thread_name_prefix=name)

    def execute(self, sql: LiteralString, value: object) -> psycopg.Cursor[Any]:
        """For the thread of this way only. Raises psycopg.Error."""
        for attempt in (1, 2):  # the first may fail only because the connection has gone stale
            try:
                if self._connection is None:
                    self._connection = self._open()
                return self._connection.execute(sql, (value,))
            except psycopg.Error:
                self._close()
                if attempt == 2:
                    raise
        raise AssertionError

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Keys:
    """Looks keys up; may be asked from any thread.

    Keys that have been good before go another way than those that were never seen, of which anybody can make up any number: only so many
    of these are looked up at once, and the others are asked to come again.
    """

    def __init__(self, open_connection: Callable[[], psycopg.Connection[Any]] | None = None) -> None:
        self._familiar = _Way(open_connection or _connection, "keys")
        self._strange = _Way(open_connection or _connection, "strange-keys")
        self._lock = threading.Lock()
        self._asked: dict[str, Future[_Known | None]] = {}  # look-ups under way, one for each public ID
        self._strangers = 0  # of them those of keys never seen
        self._known: dict[str, _Known] = {}
        self._missing: dict[str, float] = {}  # public IDs that are not there, and until when that is believed
        self._touched: dict[int, float] = {}
        self._uses = ThreadPoolExecutor(1, thread_name_prefix="key-uses")
        self._master: bytes | None = None

    def check(self, text: str, scope: str) -> Caller:
        """The caller. Raises Problem: no such key, no longer valid, wrong scope, or the database is away and the key not remembered."""
        caller = self.remembered(text, scope)
        if caller is not None:
            return caller
        try:
            return self.judge(self.look_up(text).result(LOOK_UP_WITHIN), text, scope)
        except TimeoutError:
            raise away() from None

    def remembered(self, text: str, scope: str) -> Caller | None:
        """The caller without asking the database, or None."""
        known = self._known.get(keys.parse(text))
        if known is None or known.until < time.monotonic():
            return None
        metrics.looked_up("key", 1, 0)
        return _judge(known, text, scope)

    def look_up(self, text: str) -> Future[_Known | None]:
        """What the database knows of a key, for `judge`. Others may wait for the same: do not cancel it. Raises Problem: too many wait."""
        public_id = keys.parse(text)
        metrics.looked_up("key", 0, 1)
        strange = public_id not in self._known
        if strange and self._missing.get(public_id, 0) > time.monotonic():
            raise _unknown()
        with self._lock:
            asked = self._asked.get(public_id)
            if asked is not None:
                return asked
            if strange and self._strangers >= STRANGERS:
                raise Problem("overloaded", "Too many keys that were never seen here are being looked up; send the batch again.")
            self._strangers += strange
            way = self._strange if strange else self._familiar
            asked = self._asked[public_id] = way.pool.submit(self._look_up, way, public_id, strange)
        return asked

    def judge(self, known: _Known | None, text: str, scope: str) -> Caller:
        """The caller, of what a look-up has found. Raises Problem."""
        if known is None:
            raise _unknown()
        caller = _judge(known, text, scope)
        now = time.monotonic()
        if now - self._touched.get(caller.key_id, -_LAST_USED_SECONDS) >= _LAST_USED_SECONDS:
            self._touched[caller.key_id] = now
            self._uses.submit(self._used, keys.parse(text), known)
        return caller

    def _look_up(self, way: _Way, public_id: str, strange: bool) -> _Known | None:
        try:
            row = way.execute(_LOOK_UP, public_id).fetchone()
            until = time.monotonic() + REMEMBERED_SECONDS
            if row is None:
                self._known.pop(public_id, None)
                _remember(self._missing, public_id, until)
                return None
            key_id, digest, scopes, expires_at, revoked_at, project_id, wrapped, class_no, period, version, rules, name, used_at = row
            if self._master is None:
                self._master = secrets.master_key()
            secret = secrets.unwrap(bytes(wrapped), self._master)
            project = Project(project_id, secret, class_no, period, version or 0, kept.rules(rules))
            caller = Caller(project, key_id, frozenset(scopes))
            known = _Known(bytes(digest), caller, expires_at, revoked_at, until, name, used_at)
            _remember(self._known, public_id, known)
            return known
        except psycopg.Error as error:
            raise away() from error
        finally:
            with self._lock:
                del self._asked[public_id]
                self._strangers -= strange

    def _used(self, public_id: str, known: _Known) -> None:
        """In a thread of its own: senders wait neither for the record nor for the note."""
        try:
            governance.used(known.caller.project, Actor("key", public_id, known.name), known.last_used_at, datetime.now(UTC))
        except Problem as problem:  # what is sent is stored all the same, and its batch names the key
            logger.warning("ingest.key_use_not_recorded", extra={"key_id": known.caller.key_id, "code": problem.code})
            return
        self._familiar.pool.submit(self._touch, known.caller.key_id)

    def _touch(self, key_id: int) -> None:
        try:
            self._familiar.execute(_USED, key_id)
        except psycopg.Error as error:  # a note for people; whether evidence can be stored is for the writer to find out
            logger.warning("ingest.last_used_not_noted", extra={"key_id": key_id, "sqlstate": error.sqlstate})


def _remember(where: dict[str, T], public_id: str, what: T) -> None:
    if len(where) >= _MOST:
        where.clear()
    where[public_id] = what


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
