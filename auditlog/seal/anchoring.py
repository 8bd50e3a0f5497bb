"""Owns how services of others are asked to vouch for the newest checkpoint: when, how long, and what is counted, stored and said of it.

Each has a thread and a connection of its own: one that is slow or gone delays neither sealing nor another. What a service answers is
checked by the module of its kind before it is kept here.
"""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final, LiteralString, NamedTuple

import psycopg

from auditlog import metrics
from auditlog.seal.log import Head, Log
from auditlog.store.connect import connect

FIRST_WAIT: Final = 60.0  # seconds until what failed is tried again; then twice as long
LONGEST_WAIT: Final = 3600.0
TIMEOUT: Final = 10.0  # for each answer, as a whole
LARGEST: Final = 65_536  # bytes of an answer
AHEAD: Final = 300  # seconds that another clock may be ahead

_ADD: Final[LiteralString] = """
    INSERT INTO anchor (size, kind, name, proof, anchored_at) VALUES (%s, %s, %s, %s, to_timestamp(%s)) ON CONFLICT DO NOTHING"""
_LAST: Final[LiteralString] = """
    SELECT size, extract(epoch FROM now() - anchored_at)::float FROM anchor WHERE kind = %s AND name = %s ORDER BY size DESC LIMIT 1"""


class NotAnchored(Exception):
    """reason: a code, docs/operate/log.md says what it means."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Answer(NamedTuple):
    status: int
    type: str
    body: bytes


class Anchoring(ABC):
    """Asks one service over a connection of the sealer."""

    kind: ClassVar[str]  # column anchor.kind
    every: ClassVar[float]  # seconds between two checkpoints for it
    counted: ClassVar[metrics.Counter]
    done: ClassVar[str]  # what is counted of a checkpoint that it vouched for

    def __init__(self, conn: psycopg.Connection[Any], name: str) -> None:
        self.conn, self.name = conn, name
        row = conn.execute(_LAST, (self.kind, name)).fetchone()
        self.size, age = (int(row[0]), row[1]) if row else (0, None)  # of the newest checkpoint that it vouched for
        self._next = 0.0 if age is None else time.monotonic() + self.every - min(max(age, 0.0), self.every)
        self._wait = FIRST_WAIT

    def turn(self) -> bool:
        """Asks about the newest checkpoint if it is time and it is new; whether it is anchored. Raises NotAnchored, psycopg.Error."""
        if time.monotonic() < self._next:
            return False
        head = Log(self.conn).head()
        if head is None or head.size <= self.size:
            return False
        self._next, self._wait = time.monotonic() + self._wait, min(self._wait * 2, LONGEST_WAIT)
        try:
            proof, at = self.ask(head)
        except NotAnchored as error:
            self.counted.add(1, error.reason)
            raise
        self.conn.execute(_ADD, (head.size, self.kind, self.name, proof, at))
        self.size = head.size
        self._next, self._wait = time.monotonic() + self.every, FIRST_WAIT
        self.counted.add(1, self.done)
        return True

    @abstractmethod
    def ask(self, head: Head) -> tuple[bytes, float]:
        """What is kept of the answer once it was checked, and the time in it, in seconds since 1970. Raises NotAnchored."""

    @abstractmethod
    def tell(self, reason: str) -> None:
        """A line of the log: it did not vouch for it."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Only the address that was configured is asked."""


def post(url: str, data: bytes, kind: str) -> Answer:
    """Raises NotAnchored("unreachable", "answer")."""
    asked, until = urllib.request.Request(url, data, {"Content-Type": kind}, method="POST"), time.monotonic() + TIMEOUT
    try:
        try:
            answer = urllib.request.build_opener(_NoRedirect).open(asked, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = bytearray()
            while part := answer.read1(LARGEST):
                body += part
                if len(body) > LARGEST:
                    raise NotAnchored("answer")
                if time.monotonic() > until:  # a byte now and then holds nobody for long
                    raise NotAnchored("unreachable")
            return Answer(int(answer.status), answer.headers.get_content_type(), bytes(body))
    except (OSError, http.client.HTTPException) as error:
        raise NotAnchored("unreachable") from error


def start(name: str, make: Callable[[psycopg.Connection[Any]], Anchoring], stop: threading.Event) -> None:
    """A thread until `stop`; it keeps no process alive."""
    threading.Thread(target=_run, args=(make, stop), name=name, daemon=True).start()


def _run(make: Callable[[psycopg.Connection[Any]], Anchoring], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            with connect("sealer", autocommit=True) as conn:
                asking = make(conn)
                while not stop.is_set():
                    try:
                        asking.turn()
                    except NotAnchored as error:
                        asking.tell(error.reason)
                    stop.wait(1.0)
        except (psycopg.Error, OSError):
            stop.wait(5.0)  # the sealer says so
