"""Owns the file beside the log's key that says what was signed last: a database can be restored from a backup, what was published cannot.

It is written, and flushed, BEFORE the commit of the round that it speaks of. Killed between the two, the database is one round behind:
the same parts are still there, in the same order, and the round that is made again has to come to the very root that the file says. After
a restored backup it does not. Written after the commit it would be silent about a checkpoint that somebody may have read meanwhile.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from auditlog.seal.keys import sync_folder


class Signed(NamedTuple):
    """The largest tree that a signature was or may have been given for."""

    size: int
    root: bytes


def path(key_file: Path) -> Path:
    return key_file.with_suffix(".signed")


def read(file: Path) -> Signed | None:
    """None: nothing was ever signed, or the file was lost. Raises ValueError for a file that cannot be read as one."""
    found = _load(file)
    return Signed(int(found["size"]), bytes.fromhex(found["root"])) if found else None


def write(file: Path, signed: Signed) -> None:
    """Returns once it is on disk. Raises OSError: then nothing may be signed."""
    _save(file, (_load(file) or {}) | {"size": signed.size, "root": signed.root.hex()})


def accept(file: Path, signed: Signed, reason: str) -> Signed | None:
    """From now on the log goes on from here, whatever was signed before. Returns what the file said; it keeps that and the reason."""
    before = _load(file) or {}
    entry = {
        "at": datetime.now(UTC).isoformat(), "reason": reason, "size": before.get("size"), "root": before.get("root"),
        "accepted_size": signed.size, "accepted_root": signed.root.hex(),
    }  # fmt: skip
    _save(file, before | {"size": signed.size, "root": signed.root.hex(), "restores": [*before.get("restores", []), entry]})
    return Signed(int(before["size"]), bytes.fromhex(before["root"])) if before else None


def _load(file: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    return found


def _save(file: Path, content: dict[str, Any]) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write((json.dumps(content, indent=1) + "\n").encode())
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    sync_folder(file.parent)
