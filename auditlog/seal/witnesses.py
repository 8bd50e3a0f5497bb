"""Owns asking witnesses to cosign checkpoints (C2SP tlog-witness): what is sent, and what is believed.

What a witness answers is checked before it is kept: a signature by its key, over this checkpoint, at a time that is not ahead of ours.
"""

from __future__ import annotations

import logging
import threading
import time
from base64 import b64encode
from functools import partial
from typing import Any, Final, NamedTuple

import psycopg

from auditlog import conf, metrics
from auditlog.proof import cosignature, note, tree
from auditlog.seal import anchoring
from auditlog.seal.anchoring import AHEAD, Anchoring, NotAnchored
from auditlog.seal.log import Contradiction, Head, Log

log = logging.getLogger(__name__)

_REASONS: Final = {400: "request", 403: "key_unknown", 404: "log_unknown", 409: "tree_differs", 422: "tree_differs"}


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


class Asking(Anchoring):
    """Asks one witness."""

    kind, every = "witness", 60.0
    counted, done = metrics.witnessed, "cosigned"

    def __init__(self, conn: psycopg.Connection[Any], witness: Witness) -> None:
        super().__init__(conn, witness.key.name)
        self._witness = witness
        self._known = self.size  # what the witness is believed to know

    def ask(self, head: Head) -> tuple[bytes, float]:
        """The line of the cosignature as it is kept, and its time."""
        answer = self._ask(head)
        if answer.status == 409 and answer.type == "text/x.tlog.size":
            known = answer.body.removesuffix("\n")
            if not (known.isascii() and known.isdigit() and len(known) < 19):
                raise NotAnchored("answer")
            if int(known) > head.size:
                raise NotAnchored("tree_differs")  # it saw a larger tree than there is
            if int(known) != self._known:
                self._known = int(known)
                answer = self._ask(head)
        if answer.status != 200:
            raise NotAnchored(_REASONS.get(answer.status, "answer"))
        try:
            signature, at = cosignature.cosigned(note.parse(head.note)[0], answer.body, self._witness.key)
        except note.NoteError as error:
            raise NotAnchored("signature_wrong") from error
        if at > time.time() + AHEAD:
            raise NotAnchored("time_wrong")
        self._known = head.size
        return note.add("", [signature]).encode(), at

    def _ask(self, head: Head) -> _Answer:
        try:
            proof = tree.consistency(self._known, head.size, Log(self.conn).nodes(head.size)) if self._known else []
        except Contradiction as error:
            raise NotAnchored("log_contradicted") from error
        lines = "".join(f"{b64encode(one).decode()}\n" for one in proof)
        data = f"old {self._known}\n{lines}\n{head.note}".encode()
        answer = anchoring.post(f"{self._witness.url}/add-checkpoint", data, "text/plain; charset=utf-8")
        try:
            return _Answer(answer.status, answer.type, answer.body.decode())
        except UnicodeDecodeError as error:
            raise NotAnchored("answer") from error

    def tell(self, reason: str) -> None:
        log.warning("seal.not_cosigned", extra={"witness": self.name, "reason": reason})


def start(witnesses: list[Witness], stop: threading.Event) -> None:
    """A thread for each."""
    for witness in witnesses:
        anchoring.start(f"witness {witness.key.name}", partial(Asking, witness=witness), stop)
