"""Owns the reasons for which the sealer signs nothing, what each asks of the operator, and how other processes learn of it.

While it works the sealer holds the advisory lock (LOCK, 0), and while it refuses also (LOCK, reason): pages on any machine see both in
`pg_locks`, and PostgreSQL takes them away when the sealer ends, however it ends.
"""

from __future__ import annotations

import enum
from typing import Any, Final, LiteralString

LOCK: Final = 7209  # advisory lock: one sealer per database
PRESENT: Final = 0


class Why(enum.IntEnum):
    """Numbers are those of the advisory lock, names those of logs and API."""

    ROOT_DIFFERS = 1
    RESTORED = 2
    KEY_MISSING = 3
    KEY_OTHER = 4
    SIGNED_MISSING = 5
    ORIGIN_CHANGED = 6

    @property
    def code(self) -> str:
        return self.name.lower()

    @property
    def words(self) -> str:
        """What is wrong and what to do, as a page says it."""
        return _WORDS[self]


_WORDS: Final = {
    Why.ROOT_DIFFERS: "What is stored of the log does not give the root of its last checkpoint: rows of the log were changed or removed. "
    "Find out which with manage.py verify, and restore them from a backup.",
    Why.RESTORED: "The database is older than the last checkpoint that was signed, as after a restored backup or a failover that lost "
    "data. Signing on would give the log two histories. If nothing better can be restored: manage.py seal --accept-restore REASON",
    Why.KEY_MISSING: "The key of the log cannot be read. Restore the file (log.key in AUDITLOG_DATA, or where AUDITLOG_LOG_KEY says) with "
    "mode 600 and the owner that the sealer runs as.",
    Why.KEY_OTHER: "The key in the file is not the one that this log is signed with. Restore the right file, or move this one away if it "
    "belongs to another database.",
    Why.SIGNED_MISSING: "The file that says what was signed last (log.signed beside the key) is not there, so that nobody can tell whether "
    "this database is older. Restore the file, or, if the database is the newest there is: manage.py seal --accept-restore REASON",
    Why.ORIGIN_CHANGED: "AUDITLOG_LOG_ORIGIN is not the name under which this log is signed. A log keeps its name: set it as it was.",
}


class Refused(Exception):
    """The sealer signs nothing, until somebody has mended the reason."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.words)
        self.why = why


HELD: Final[LiteralString] = """
    SELECT objid::int FROM pg_locks WHERE locktype = 'advisory' AND classid = %(lock)s AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class Flag:
    """Says over the sealer's connection that it refuses, and why."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self._up: Why | None = None

    def set(self, why: Why | None) -> bool:
        """True where that is news."""
        if why is self._up:
            return False
        if self._up is not None:
            self._conn.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK, self._up))
        if why is not None:
            self._conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, why))
        self._up = why
        return True
