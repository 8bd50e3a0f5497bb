"""Owns asking witnesses to cosign checkpoints (C2SP tlog-witness): what is sent, what is believed, and when it is tried again.

Each witness has a thread and a connection of its own: one that is slow or gone delays neither sealing nor another. What it answers is
checked before it is kept: a signature by its key, over this checkpoint, at a time that is not ahead of ours.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from auditlog import conf, metrics
from auditlog.proof import cosignature, note, tree
from auditlog.seal.log import Contradiction, Head, Log
from auditlog.store.connect import connect

log = logging.getLogger(__name__)

EVERY: Final = 60.0  # seconds between two checkpoints for a witness
LONGEST_WAIT: Final = 3600.0  # between two tries
TIMEOUT: Final = 10.0
LARGEST: Final = 65_536  # bytes of an answer
AHEAD: Final = 300  # seconds that a witness' clock may be ahead

_ADD: Final[LiteralString] = """
    INSERT INTO anchor (size, kind, name, proof, anchored_at) VALUES (%s, 'witness', %s, %s, to_timestamp(%s)) ON CONFLICT DO NOTHING"""
_LAST: Final[LiteralString] = "SELECT coalesce(max(size), 0) FROM anchor WHERE kind = 'witness' AND name = %s"
_REASONS: Final = {400: "request", 403: "key_unknown", 404: "log_unknown", 409: "tree_differs", 422: "tree_differs"}


class NotCosigned(Exception):
    """reason: a code, docs/operate/log.md says what it means."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Witness(NamedTuple):
    key: cosignature.Key
    url: str


class _Answer(NamedTuple):
    status: int
    type: str
    body: str


def configured() -> list[Witness]:
    """Raises SettingError."""
    try:
        found = [Witness(cosignature.read_key(key), url) for key, url in conf.get("AUDITLOG_WITNESSES")]
    except note.NoteError as error:
        raise conf.SettingError(f"AUDITLOG_WITNESSES cannot be read: {error}.") from error
    if len({one.key.name for one in found}) != len(found):
        raise conf.SettingError("AUDITLOG_WITNESSES names a witness twice.")
    return found


class Asking:
    """Asks one witness over a connection of the sealer."""

    def __init__(self, conn: psycopg.Connection[Any], witness: Witness) -> None:
        self._conn = conn
        self._witness = witness
        self._next = 0.0
        self._wait = EVERY
        row = conn.execute(_LAST, (witness.key.name,)).fetchone()
        self._size = self._known = int(row[0]) if row else 0  # cosigned and kept; what the witness is believed to know

    def turn(self) -> bool:
        """Asks about the newest checkpoint if it is time and it is new; whether it was cosigned. Raises NotCosigned, psycopg.Error."""
        if time.monotonic() < self._next:
            return False
        head = Log(self._conn).head()
        if head is None or head.size <= self._size:
            return False
        self._next, self._wait = time.monotonic() + self._wait, min(self._wait * 2, LONGEST_WAIT)
        try:
            line, at = self._cosigned(head)
        except NotCosigned as error:
            metrics.witnessed.add(1, error.reason)
            raise
        self._conn.execute(_ADD, (head.size, self._witness.key.name, line.encode(), at))
        self._size = self._known = head.size
        self._next, self._wait = time.monotonic() + EVERY, EVERY
        metrics.witnessed.add(1, "cosigned")
        return True

    def _cosigned(self, head: Head) -> tuple[str, int]:
        """The line of the cosignature as it is kept, and its time."""
        answer = self._ask(head)
        if answer.status == 409 and answer.type == "text/x.tlog.size":
            known = answer.body.removesuffix("\n")
            if not (known.isascii() and known.isdigit() and len(known) < 19):
                raise NotCosigned("answer")
            if int(known) > head.size:
                raise NotCosigned("tree_differs")  # it saw a larger tree than there is
            if int(known) != self._known:
                self._known = int(known)
                answer = self._ask(head)
        if answer.status != 200:
            raise NotCosigned(_REASONS.get(answer.status, "answer"))
        try:
            signature, at = cosignature.cosigned(note.parse(head.note)[0], answer.body, self._witness.key)
        except note.NoteError as error:
            raise NotCosigned("signature_wrong") from error
        if at > time.time() + AHEAD:
            raise NotCosigned("time_wrong")
        return note.add("", [signature]), at

    def _ask(self, head: Head) -> _Answer:
        try:
            proof = tree.consistency(self._known, head.size, Log(self._conn).nodes(head.size)) if self._known else []
        except Contradiction as error:
            raise NotCosigned("log_contradicted") from error
        lines = "".join(f"{b64encode(one).decode()}\n" for one in proof)
        return _post(f"{self._witness.url}/add-checkpoint", f"old {self._known}\n{lines}\n{head.note}".encode())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Only the address that was configured is asked."""


def _post(url: str, data: bytes) -> _Answer:
    asked = urllib.request.Request(url, data, {"Content-Type": "text/plain; charset=utf-8"}, method="POST")
    try:
        try:
            answer = urllib.request.build_opener(_NoRedirect).open(asked, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = answer.read(LARGEST + 1)
            if len(body) > LARGEST:
                raise NotCosigned("answer")
            return _Answer(int(answer.status), answer.headers.get_content_type(), body.decode())
    except UnicodeDecodeError as error:
        raise NotCosigned("answer") from error
    except (OSError, http.client.HTTPException) as error:
        raise NotCosigned("unreachable") from error


def start(witnesses: list[Witness], stop: threading.Event) -> None:
    """A thread for each, until `stop`; they keep no process alive."""
    for witness in witnesses:
        threading.Thread(target=_run, args=(witness, stop), name=f"witness {witness.key.name}", daemon=True).start()


def _run(witness: Witness, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            with connect("sealer", autocommit=True) as conn:
                asking = Asking(conn, witness)
                while not stop.is_set():
                    try:
                        asking.turn()
                    except NotCosigned as error:
                        log.warning("seal.not_cosigned", extra={"witness": witness.key.name, "reason": error.reason})
                    stop.wait(1.0)
        except (psycopg.Error, OSError):
            stop.wait(5.0)  # the sealer says so
