"""Owns asking authorities for timestamps of checkpoints (RFC 3161): what is sent, and what is believed.

The answer is kept as it came, once it was checked: granted, to this question, over this checkpoint, signed by a certificate that leads
to the roots of the setting, at a time that fits to ours. A timestamp of the newest checkpoint is one of all leaves before it.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import Any, NamedTuple

import psycopg
from cryptography.x509 import Certificate

from auditlog import conf, metrics
from auditlog.proof import timestamp
from auditlog.seal import anchoring
from auditlog.seal.anchoring import AHEAD, Anchoring, NotAnchored
from auditlog.seal.log import Head

log = logging.getLogger(__name__)


class Authority(NamedTuple):
    name: str
    url: str
    roots: list[Certificate]


def configured() -> list[Authority]:
    """Raises SettingError."""
    found = []
    for name, url, pem in conf.get("AUDITLOG_TIMESTAMP_AUTHORITIES"):
        try:
            found.append(Authority(name, url, timestamp.read_roots(pem)))
        except ValueError as error:
            raise conf.SettingError(f"AUDITLOG_TIMESTAMP_AUTHORITIES: the file of {name} has no certificates in PEM: {error}") from error
    return found


class Asking(Anchoring):
    """Asks one authority."""

    kind, every = "timestamp", 3600.0  # those that are free of charge limit how often
    counted, done = metrics.stamped, "stamped"

    def __init__(self, conn: psycopg.Connection[Any], authority: Authority) -> None:
        super().__init__(conn, authority.name)
        self._authority = authority

    def ask(self, head: Head) -> tuple[bytes, float]:
        """The answer as it came, and its time."""
        note = head.note.encode()
        query = timestamp.query(note)
        answer = anchoring.post(self._authority.url, query.data, "application/timestamp-query")
        if answer.status != 200:
            raise NotAnchored("answer")
        try:
            at = timestamp.stamped(answer.body, note, self._authority.roots, query.nonce).timestamp()
        except timestamp.TimestampError as error:
            raise NotAnchored(error.reason) from error
        if abs(at - time.time()) > AHEAD:
            raise NotAnchored("time_wrong")
        return answer.body, at

    def tell(self, reason: str) -> None:
        log.warning("seal.not_stamped", extra={"authority": self.name, "reason": reason})


def start(authorities: list[Authority], stop: threading.Event) -> None:
    """A thread for each."""
    for authority in authorities:
        anchoring.start(f"timestamps {authority.name}", partial(Asking, authority=authority), stop)
