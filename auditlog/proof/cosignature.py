"""Owns cosignatures of checkpoints by witnesses (C2SP tlog-cosignature, Ed25519 cosignature/v1): their keys and their check. Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auditlog.proof import note

COSIGNATURE: Final = b"\x04"  # the type of a signature, as the specification numbers them
_LENGTH: Final = 8 + 64  # the time, then the signature


class Key(NamedTuple):
    """What verifies a witness: a name and a public key of 32 bytes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public).digest()[:4]

    def text(self) -> str:
        """The form in which a witness publishes its key: name+id+base64."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(COSIGNATURE + self.public).decode()}"


def read_key(text: str) -> Key:
    """Raises NoteError."""
    name, public, key_id = note.read_parts(text, COSIGNATURE)
    key = Key(name, public)
    if key.id != key_id:
        raise note.NoteError("the witness' key's ID does not fit to its name and bytes: a character is missing or mistyped")
    return key


def message(body: str, at: int) -> bytes:
    """What a witness signs. body: the text of a checkpoint; at: seconds since 1970."""
    return f"cosignature/v1\ntime {at}\n{body}".encode()


def cosigned(body: str, lines: str, key: Key) -> tuple[note.Signature, int]:
    """The cosignature by a key, and its time in seconds since 1970. Raises NoteError: there is none, or it is wrong.

    body: the text of the checkpoint; lines: of signatures, whoever sent them.
    """
    _, signatures = note.parse(f"{body}\n{lines}")  # a text that came with the lines is not what they have to fit to
    for signature in signatures:
        if (signature.name, signature.key_id) != (key.name, key.id):
            continue  # unknown ones are to be ignored
        if len(signature.data) != _LENGTH:
            raise note.NoteError(f"the cosignature of {key.name} has not {_LENGTH} bytes")
        at = int.from_bytes(signature.data[:8], "big")
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature.data[8:], message(body, at))
        except InvalidSignature:
            raise note.NoteError(f"the cosignature of {key.name} does not fit to the checkpoint") from None
        return signature, at
    raise note.NoteError(f"{key.name} did not cosign this checkpoint")
