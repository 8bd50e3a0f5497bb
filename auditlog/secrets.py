"""Owns the master key outside the database, and the project secrets that are stored only wrapped by it.

The master key is a file `$AUDITLOG_DATA/master.key` (mode 600). Whoever holds a dump of the database without this
file can neither compute event IDs nor content keys. Losing it loses those too: it belongs into the backup.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from auditlog import conf

MASTER_KEY: Final = "master.key"
_VERSION: Final = b"\x01"  # of the wrapping: another algorithm gets another byte, so that old rows stay readable
_NONCE: Final = 12
_PURPOSE: Final = b"auditlog project secret"  # authenticated with it: nothing else wrapped by this key opens as one


def private_file(path: Path, make: bytes) -> bytes:
    """The content of a file that only its owner may read; writes `make` first if there is none.

    Two processes at once: link() lets exactly one win, and both read what the winner wrote, whole.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(make)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first; its content counts
        finally:
            draft.unlink()
        content = path.read_bytes()
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise conf.SettingError(f"{path} has mode {mode:o}: others may read it. Run: chmod 600 {path}")
    return content


def master_key() -> bytes:
    path = conf.get("AUDITLOG_DATA") / MASTER_KEY
    key = private_file(path, secrets.token_bytes(32))
    if len(key) != 32:
        raise conf.SettingError(f"{path} has {len(key)} bytes where a master key has 32. Restore it from the backup.")
    return key


def new_project_secret() -> bytes:
    return secrets.token_bytes(32)


def wrap(secret: bytes, master: bytes | None = None) -> bytes:
    """A project's secret as it is stored in `project.secret_wrapped`."""
    nonce = secrets.token_bytes(_NONCE)
    return _VERSION + nonce + AESGCM(master or master_key()).encrypt(nonce, secret, _PURPOSE)


def unwrap(wrapped: bytes, master: bytes | None = None) -> bytes:
    """The secret again. Raises SettingError when the master key is another one than it was wrapped with."""
    wrapped = bytes(wrapped)
    if wrapped[:1] != _VERSION:
        raise conf.SettingError(
            "A project's secret is wrapped in a form that this version does not know: the database is newer than this code."
        )
    try:
        return AESGCM(master or master_key()).decrypt(wrapped[1 : 1 + _NONCE], wrapped[1 + _NONCE :], _PURPOSE)
    except InvalidTag:
        raise conf.SettingError(
            f"A project's secret does not open: {MASTER_KEY} in AUDITLOG_DATA is not the one it was wrapped with. "
            "Restore that file from the backup."
        ) from None
