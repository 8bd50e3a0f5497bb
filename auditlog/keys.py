"""Owns the form of an API key: how one is made, and how the public ID is read from one without asking a database.

`al_<public id, 12>_<secret, 32><checksum, 6>`, all base62. The checksum is CRC32 of everything before it, so that
a mistyped key or a scanner's find can be told from a revoked one without a query. Stored is only `digest(key)`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from typing import Final, NamedTuple

from auditlog.errors import Problem

SCOPES: Final = ("ingest", "read", "export", "admin")
ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM: Final = re.compile(r"al_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})", re.ASCII)


class Made(NamedTuple):
    """A new key. `text` is shown once and kept nowhere."""

    text: str
    public_id: str
    digest: bytes


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode("ascii"))
    letters = []
    for _ in range(6):
        number, rest = divmod(number, 62)
        letters.append(ALPHABET[rest])
    return "".join(reversed(letters))


def make() -> Made:
    public_id = _random(12)
    body = f"al_{public_id}_{_random(32)}"
    text = body + _checksum(body)
    return Made(text, public_id, digest(text))


def digest(text: str) -> bytes:
    """What is stored of a key. Plain SHA-256 is enough: the secret has 190 random bits, there is nothing to guess."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def parse(text: str) -> str:
    """The public ID of a key. Raises Problem when it is none, never repeating what was sent."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise Problem("key_unknown", "The API key has not the form al_<id>_<secret>. Copy the whole key as it was shown when it was made.")
    if _checksum(text[:-6]) != match[3]:
        raise Problem("key_unknown", "The API key's checksum is wrong: a character is missing or mistyped. Copy the key again.")
    return match[1]
