"""Owns the files of the log's key: made once, read by the sealer alone, and put in the place of the old one after a rotation.

`log.key` signs. `log.next`, where it is there, is the key that a rotation made (`ask_for_rotation`):

1. The next checkpoint is signed by both, and the new one's row in `log_key` commits with it. Killed before: both files are as they were.
2. `log.next` is renamed to `log.key`; the old private key is gone. Killed before: the next round sees that the row is there, and renames.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from auditlog import conf
from auditlog.proof import note
from auditlog.seal.refusal import Refused, Why
from auditlog.secrets import private_file

_NEWEST: Final[LiteralString] = "SELECT key_no, name, public_key FROM log_key ORDER BY key_no DESC LIMIT 1"
_SYSTEM_ID: Final[LiteralString] = "SELECT system_identifier FROM pg_control_system()"
ADD: Final[LiteralString] = "INSERT INTO log_key (key_no, name, public_key, created_at, from_size) VALUES (%s, %s, %s, now(), %s)"


class Signing(NamedTuple):
    """Who signs the next checkpoint. fresh: (number, key) of the one that is not in `log_key` yet."""

    signers: list[note.Signer]
    fresh: tuple[int, note.Key] | None
    rotates: bool

    @property
    def origin(self) -> str:
        return self.signers[0].key.name


def path() -> Path:
    """Where the key is."""
    given: Path | None = conf.get("AUDITLOG_LOG_KEY")
    return given or conf.get("AUDITLOG_DATA") / "log.key"


def origin(conn: psycopg.Connection[Any]) -> str:
    """The name of a log that has no key yet."""
    given = str(conf.get("AUDITLOG_LOG_ORIGIN"))
    if given:
        return given
    row = conn.execute(_SYSTEM_ID).fetchone()
    return f"auditlog/{int(row[0]) & 2**64 - 1:016x}" if row else "auditlog"


def signing(conn: psycopg.Connection[Any], file: Path) -> Signing:
    """The signers of the next checkpoint; makes the first key of a log that has none. Raises Refused."""
    newest = conn.execute(_NEWEST).fetchone()
    if newest is None:
        name = origin(conn)
        first = _read(file, note.Signer(name, secrets.token_bytes(32)).text())
        if first.key.name != name:
            raise Refused(Why.KEY_OTHER)  # left from another database: its checkpoints are known elsewhere
        return Signing([first], (1, first.key), False)
    number, name, public = int(newest[0]), str(newest[1]), bytes(newest[2])
    if conf.get("AUDITLOG_LOG_ORIGIN") not in ("", name):
        raise Refused(Why.ORIGIN_CHANGED)
    following = _read(next_of(file)) if next_of(file).exists() else None
    if following is not None and following.key.public == public:
        put_in_place(file)  # the rotation had committed
        following = None
    current = _read(file)
    if current.key != note.Key(name, public):
        raise Refused(Why.KEY_OTHER)
    if following is None:
        return Signing([current], None, False)
    if following.key.name != name:
        raise Refused(Why.KEY_OTHER)
    return Signing([current, following], (number + 1, following.key), True)


def ask_for_rotation(file: Path) -> note.Key:
    """Makes the key that the next checkpoint is to be signed with, too. Raises FileExistsError while another rotation is under way."""
    current = _read(file)
    if next_of(file).exists():
        raise FileExistsError(next_of(file))
    return _read(next_of(file), note.Signer(current.key.name, secrets.token_bytes(32)).text()).key


def next_of(file: Path) -> Path:
    return file.with_suffix(".next")


def put_in_place(file: Path) -> None:
    """The new key instead of the old one."""
    next_of(file).replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """A renamed file is where it is said to be after a loss of power only if its folder was flushed."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _read(file: Path, make: str | None = None) -> note.Signer:
    """Raises Refused; a file that is not there is made where it may be."""
    try:
        if make is None and not file.exists():
            raise Refused(Why.KEY_MISSING)
        return note.read_signer(private_file(file, f"{make}\n".encode()).decode().removesuffix("\n"))
    except (OSError, conf.SettingError, note.NoteError, UnicodeDecodeError) as error:
        raise Refused(Why.KEY_MISSING) from error
