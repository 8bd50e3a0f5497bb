"""Owns the files of an export folder and how far it is: a file is complete or absent, and a restart goes on after the last complete one.

Beside the folder lies `<folder>.progress`, a small SQLite database: what was asked for, which files are complete, and what of them is
still to be done. Killed before a rename: the draft is written again. Killed between the rename and the commit of the progress: the same
bytes are written again under the same name. The manifest is written last, so that a folder with one is finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

import msgspec

from auditlog.errors import Problem

CHUNK: Final = 64 * 1024 * 1024  # bytes; a line that is longer is a chunk of its own
# After so many bytes they are sent to the disk: behind an fsync of 64 MiB at once a COMMIT of ingest waits (its p99 was 2.5 times as long;
# docs/bench). What is on its way is the first that memory gives up, before the database's pages.
SENT_EVERY: Final = 4 * 1024 * 1024
# So many bytes are hashed and written at once: lines of 15 KB, each by itself, cost the kernel three times as much (docs/bench).
_WRITTEN_AT_ONCE: Final = 1024 * 1024
MANIFEST: Final = "manifest.json"
DRAFT: Final = ".draft"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, sha256 TEXT, bytes INTEGER, records INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chosen (leaf_index INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS placed (place BLOB PRIMARY KEY, sha256 BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS session (n INTEGER PRIMARY KEY, key TEXT, traces BLOB, lost TEXT);
CREATE TABLE IF NOT EXISTS line (kind TEXT, n INTEGER, i INTEGER, line BLOB, PRIMARY KEY (kind, n, i)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased (id TEXT, field INTEGER, PRIMARY KEY (id, field)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS restricted (id TEXT, field INTEGER, request INTEGER, PRIMARY KEY (id, field)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS certificate (erasure INTEGER, decided TEXT, id TEXT, path TEXT, PRIMARY KEY (erasure, decided)) WITHOUT ROWID;
"""


class Interrupted(Exception):
    """Ends this call of an export, not the export: raised by what is called between records. Whoever writes records lets it through."""


class Written(NamedTuple):
    """A complete file. records: lines of a .jsonl, else None."""

    path: str
    sha256: str
    bytes: int
    records: int | None


class Files:
    """The folder and its progress. Raises Problem("parameter_invalid") for a folder that is something else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.draft: IO[bytes] | None = None
        self.drafted = 0  # bytes of the file that is being written
        self.step: Callable[[], None] = lambda: None  # called between records where nothing is asked of the database; may raise Interrupted
        self._beside = folder.with_name(f"{folder.name}.progress")
        if (folder / MANIFEST).exists():
            raise Problem("parameter_invalid", f"{folder} holds a finished export. Name a folder that does not exist yet.")
        if folder.exists() and any(folder.iterdir()) and not self._beside.exists():
            raise Problem("parameter_invalid", f"{folder} holds something else. Name a folder that does not exist yet.")
        folder.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(self._beside, isolation_level=None)
        self.db.executescript(f"{_TABLES} BEGIN;")
        if self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'wanted' AND type = 'table'").fetchone():  # an older program began it
            self.db.execute("INSERT OR IGNORE INTO placed SELECT place, sha256 FROM wanted")
            self.db.execute("DROP TABLE wanted")
        # One that still runs beside this program must not go on with it: it would write down places where nobody looks for them.
        self.db.execute("CREATE VIEW IF NOT EXISTS wanted AS SELECT sha256, place FROM placed")
        self.commit()
        row: tuple[int, int] = self.db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM file").fetchone()
        self.complete, self.size = row  # files, and their bytes
        shutil.rmtree(folder / DRAFT, ignore_errors=True)
        (folder / DRAFT).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()  # what was not committed is forgotten, as by a kill
        if self.draft is not None:
            self.draft.close()

    def commit(self) -> None:
        self.db.execute("COMMIT")
        self.db.execute("BEGIN")

    def get(self, name: str) -> Any:
        """What `put` kept, or None."""
        row = self.db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0])

    def put(self, name: str, value: Any) -> None:
        self.db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, msgspec.json.encode(value).decode()))

    def all(self) -> list[Written]:
        return [Written(*row) for row in self.db.execute("SELECT path, sha256, bytes, records FROM file ORDER BY path")]

    def has(self, path: str) -> bool:
        """Whether a file is complete."""
        return self.db.execute("SELECT 1 FROM file WHERE path = ?", (path,)).fetchone() is not None

    def count(self, kind: str) -> int:
        """Lines of all files whose path begins with this."""
        return sum(one.records or 0 for one in self.all() if one.path.startswith(kind))

    def write(self, path: str, data: bytes, records: int | None = None) -> None:
        """A small file as a whole, unless it is complete."""
        if self.has(path):
            return
        one = Draft(self)
        one.add(data)
        one.keep(path, records)

    def finish(self, manifest: bytes) -> None:
        """The manifest, and with it the end. Killed before the progress is removed: a finished folder, and a file beside it."""
        self.write(MANIFEST, manifest)
        self.db.close()
        self._beside.unlink()


class Draft:
    """One file while it is written."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._file = files.draft = (files.folder / DRAFT).open("wb")
        self._sha = hashlib.sha256()
        self._waiting: list[bytes] = []
        self.size = self.lines = self._sent = files.drafted = 0

    def add(self, *line: bytes) -> None:
        """A line, or all of a file; in pieces that are put together only once, with others."""
        self._waiting += line
        self.size += sum(map(len, line))
        self.lines += 1
        if self.size - self._files.drafted >= _WRITTEN_AT_ONCE:
            self._write()

    def _write(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._file.write(data)
        self._sha.update(data)
        self._files.drafted = self.size
        if self.size - self._sent >= SENT_EVERY:
            self._file.flush()
            with contextlib.suppress(OSError):  # advice, which not every file system takes
                os.posix_fadvise(self._file.fileno(), self._sent, self.size - self._sent, os.POSIX_FADV_DONTNEED)
            self._sent = self.size

    def keep(self, path: str, records: int | None) -> None:
        """Complete: on disk, under its name, and known to be; in this order."""
        with self._file as file:
            self._write()
            file.flush()
            os.fsync(file.fileno())
        target = self._files.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        (self._files.folder / DRAFT).rename(target)
        for folder in [one for one in target.parents if one.is_relative_to(self._files.folder)]:
            number = os.open(folder, os.O_RDONLY)
            os.fsync(number)
            os.close(number)
        row = (path, self._sha.hexdigest(), self.size, records)
        self._files.db.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", row)
        self._files.commit()
        self._files.complete += 1
        self._files.size, self._files.drafted = self._files.size + self.size, 0


class Chunks:
    """The chunks of one kind, `events/00001.jsonl` and on. `at`: where to go on after a restart; None: at the start."""

    def __init__(self, files: Files, kind: str) -> None:
        self._files, self._kind = files, kind
        self._number = sum(1 for one in files.all() if one.path.startswith(f"{kind}/"))
        self._draft: Draft | None = None
        self.at: Any = files.get(kind)
        self.done = bool(files.get(f"{kind} done"))

    @property
    def path(self) -> str:
        """Of the chunk that is being written."""
        return f"{self._kind}/{self._number + 1:05}.jsonl"

    def add(self, *line: bytes, at: Any) -> None:
        """A line, in pieces. `at` becomes what is kept once the chunk with this line is complete."""
        if self._draft is not None and self._draft.size + sum(map(len, line)) > CHUNK:
            self._close()
        if self._draft is None:
            self._draft = Draft(self._files)
        self._draft.add(*line)
        self.at = at

    def finish(self) -> None:
        self._files.put(f"{self._kind} done", True)
        self._close()
        self._files.commit()
        self.done = True

    def _close(self) -> None:
        if self._draft is not None:
            self._files.put(self._kind, self.at)
            self._draft.keep(self.path, self._draft.lines)
            self._number += 1
            self._draft = None
