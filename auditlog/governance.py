"""Owns that what people and programs do with evidence becomes evidence: one governance event each, committed before the answer.

Views of content, searches, logins, changes of keys and members. An event lies beside the agents' own, under the same digests and
batch roots, and never becomes a session. If it cannot be written, what it would have recorded is not done: whoever calls
`record` gets a Problem and answers with it. Dying after the commit and before the answer leaves a record of a view that nobody
saw; the other order would leave a view without a record.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any, Final, Literal

import msgspec

from auditlog.errors import Problem
from auditlog.item import Rest
from auditlog.store.connect import writer_connection
from auditlog.store.writer import Project, Writer

PROTOCOL: Final = 5  # column batch.protocol: the service itself
WITHIN: Final = 5.0  # seconds that a page waits for its turn to be recorded

Action = Literal[
    "search", "results.download", "access.view", "access.download",  # on a page, as all of these
    "session.view", "event.view", "quarantine.view", "dossier.view", "dossier.pdf", "request.download",
    "search.save", "search.change", "search.remove", "passage.pin", "passage.unpin",
    "session.read", "sessions.read", "event.read", "event.download", "event.proof", "actions.read", "access.read",  # over the API
    "login", "login.failed", "logout", "password.change",
    "key.use", "key.create", "key.change", "key.rotate", "key.revoke", "member.add", "member.change", "member.remove", "member.link",
    "project.change",
    "log.restore", "log.rotate",  # by a command of the operator
    "export.request", "export.pause", "export.resume", "export.cancel", "export.download", "export.release",
    "export", "import", "import.origin", "import.end",  # from the command line
    "hold.place", "hold.release", "class.make", "class.revise", "class.approve", "class.choose", "class.rules",
    "class.extend", "class.unextend", "clock.tell", "agent.flag",  # retention
    "disposition.propose", "disposition.approve", "disposition.refuse", "disposition.cancel", "disposition.certificate",
    "erasure.request", "erasure.decide", "erasure.certificate", "erasure.lift",
]  # fmt: skip


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who did it: a person by name, a program by its key, or whoever may run commands where the service runs."""

    kind: Literal["person", "key", "shell"]
    id: str
    name: str = ""
    roles: tuple[str, ...] = ()
    address: str = ""  # network address that the request came from


class Recorder:
    """Writes governance events over one connection; may be asked from any thread."""

    def __init__(self) -> None:
        # Whatever the server is set to: a record that a crash might lose is better than evidence that nobody may look at meanwhile.
        self._writer = Writer(writer_connection, anyway=True)
        self._turn = threading.Lock()

    def record(
        self, project: Project, actor: Actor, action: Action, about: Mapping[str, Any], *,
        identity: str | None = None, at: datetime | None = None,
    ) -> None:  # fmt: skip
        """Returns once it is committed. Raises Problem("store_unavailable" or "overloaded"): then the caller must not go on.

        identity, at: for what is recorded again after a death in between, and is then the same event.
        """
        now = datetime.now(UTC)
        if not self._turn.acquire(timeout=WITHIN):
            raise Problem("overloaded", "What you asked for has to be recorded first, and the store did not take the record in time.")
        try:
            made = event(actor, action, about, at or now, identity)
            self._writer.write(project, [made], key_id=None, protocol=PROTOCOL, received_at=now)
        finally:
            self._turn.release()

    def close(self) -> None:
        """Lets go of the connection; the next record opens another."""
        with self._turn:
            self._writer.close()


def event(actor: Actor, action: Action, about: Mapping[str, Any], now: datetime, identity: str | None = None) -> Rest:
    """The event as it is stored. Without an identity `id` is random: two views in the same microsecond are two views."""
    members = {"id": identity or secrets.token_hex(16), "at": now.isoformat(), "action": action, "actor": actor, "about": about}
    raws = [(name, msgspec.json.encode(value)) for name, value in members.items()]
    gaps = [(b"," if n else b"{") + msgspec.json.encode(name) + b":" for n, (name, _) in enumerate(raws)] + [b"}"]
    return Rest(gaps, raws, time=int(now.timestamp() * 1_000_000) * 1000, governance=True)


def used(project: Project, key: Actor, last: datetime | None, now: datetime) -> None:
    """Commits that a key was used on this day (UTC), unless its last use says that it was known before: once a day, however often and in
    however many processes. Raises Problem: then the use may not be noted as its last either, so that the next one tries again."""
    day = now.astimezone(UTC).date()
    if last is None or last.astimezone(UTC).date() < day:
        at = datetime.combine(day, time(), UTC)
        record(project, Actor(key.kind, key.id, key.name), "key.use", {"day": day.isoformat()}, identity=f"{key.id} on {day}", at=at)


_recorder: Final = Recorder()
record: Final = _recorder.record
close: Final = _recorder.close
