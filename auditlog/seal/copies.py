"""Owns copies of checkpoints in a folder where nothing is written twice (AUDITLOG_ANCHOR_DIR): one file each, at most one a minute,
and beside them the public keys that verify them.

The folder is meant to be somewhere else: a disk of another machine, or storage that keeps what was written. The file is written and flushed
first, then its row. Killed between the two, the next turn finds the file, compares it, and writes the row.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg

from auditlog.proof import note
from auditlog.seal import sql
from auditlog.seal.keys import sync_folder
from auditlog.seal.log import Log

EVERY: Final = 60.0  # seconds

_ADD: Final[LiteralString] = """
    INSERT INTO anchor (size, kind, name, proof, anchored_at) VALUES (%s, 'copy', %s, %s, now()) ON CONFLICT DO NOTHING"""


class Differs(Exception):
    """The folder holds another checkpoint of this size: one of the two is of a history that was given up, or forged."""


class Copies:
    """Copies over a connection of the sealer."""

    def __init__(self, conn: psycopg.Connection[Any], folder: Path) -> None:
        self._conn = conn
        self._folder = folder
        self._next = 0.0
        self._size = -1

    def turn(self) -> bool:
        """Copies the newest checkpoint if it is time and it is new; whether it did. Raises OSError, Differs: then in a minute again."""
        if time.monotonic() < self._next:
            return False
        head = Log(self._conn).head()
        if head is None or head.size == self._size:
            return False
        self._next = time.monotonic() + EVERY
        for origin, public, *_ in self._conn.execute(sql.KEYS):
            key = note.Key(str(origin), bytes(public))
            write_once(self._folder / f"key-{key.id.hex()}.txt", f"{key.text()}\n".encode())
        data, name = head.note.encode(), f"checkpoint-{head.size:020d}.txt"
        write_once(self._folder / name, data)
        self._conn.execute(_ADD, (head.size, name, hashlib.sha256(data).digest()))
        self._size = head.size
        return True


def write_once(file: Path, data: bytes) -> None:
    """Returns once it is on disk; a file of this very content may be there. Raises OSError, Differs."""
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    except FileExistsError:
        there = file.read_bytes()
        if there == data:
            return
        if not data.startswith(there):
            raise Differs(file.name) from None
        # Killed while it was written, so that it is a beginning of it: beside it, because nothing is written twice.
        write_once(file.with_suffix(f"{file.suffix}.whole"), data)
        return
    with os.fdopen(number, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    sync_folder(file.parent)
