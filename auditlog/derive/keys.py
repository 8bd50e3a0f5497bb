"""Owns how a session gets the key that stands in URLs: opaque, stable, URL-safe, the same whatever arrived first."""

from __future__ import annotations

import base64
import hashlib
import uuid

_LENGTH = 16  # bytes; 26 letters


def _key(kind: bytes, project_id: int, value: bytes) -> str:
    digest = hashlib.blake2b(project_id.to_bytes(8, "big") + value, digest_size=_LENGTH, person=kind).digest()
    return base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def session_key(project_id: int, session_id: bytes) -> str:
    """Key of the session that a sender named. A session ID may be 13 KB long and contain anything."""
    return _key(b"session", project_id, session_id)


def trace_session_key(project_id: int, trace_id: bytes) -> str:
    """Key of a trace that is a session by itself. A sender who names a session "trace:..." gets another one."""
    return _key(b"trace", project_id, trace_id)


def value_digest(project_id: int, kind: str, value: bytes) -> uuid.UUID:
    """What a declared value is looked up by, exactly, whatever its length. A session ID's is the key of that session."""
    if kind == "session":
        return uuid.UUID(bytes=key_bytes(session_key(project_id, value)))
    return uuid.UUID(bytes=hashlib.blake2b(value, digest_size=_LENGTH, person=b"declared").digest())


def key_bytes(key: str) -> bytes:
    """The 16 bytes that a session key spells. Raises ValueError for what is no key."""
    data = base64.b32decode(key.upper() + "======") if len(key) == 26 and key.isascii() else b""
    if len(data) != _LENGTH:
        raise ValueError("not a session key")
    return data


def to_bytes(text: str) -> bytes:
    """A declared value as stored. Lone surrogates and NUL survive: text columns of PostgreSQL can hold neither."""
    return text.encode("utf-8", "surrogatepass")


def to_text(value: bytes | memoryview) -> str:
    """The inverse of `to_bytes`."""
    return bytes(value).decode("utf-8", "surrogatepass")
