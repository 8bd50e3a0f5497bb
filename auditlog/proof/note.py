"""Owns signed notes (C2SP signed-note): a text, an empty line, and signatures by keys that have a name; Ed25519 alone. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519: Final = b"\x01"  # the type of a signature, as the specification numbers them
LONGEST: Final = 1_000_000  # bytes of a note
MOST_SIGNATURES: Final = 100
_DASH: Final = "\u2014 "
_PRIVATE: Final = "PRIVATE+KEY+"


class NoteError(ValueError):
    """Not a note, not a key, or not signed by a key that is known: says which."""


class Key(NamedTuple):
    """What verifies: a name and a public key of 32 bytes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that say which key of this name it is; they prove nothing."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def text(self) -> str:
        """The form in which verifiers are told a key: name+id+base64."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"


class Signer:
    """What signs: a name and the 32 bytes of a private key."""

    def __init__(self, name: str, seed: bytes) -> None:
        _need(is_name(name), f"{name!r} is no name of a key: it is empty, or has a space or a plus sign")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.key = Key(name, self._private.public_key().public_bytes_raw())

    def sign(self, text: str) -> bytes:
        return self._private.sign(text.encode())

    def text(self) -> str:
        """The form in which a private key is kept: PRIVATE+KEY+name+id+base64."""
        return f"{_PRIVATE}{self.key.name}+{self.key.id.hex()}+{base64.b64encode(ED25519 + self._seed).decode()}"


class Opened(NamedTuple):
    """A note of which at least one signature was verified. `signers`: the known keys that signed it, in order."""

    text: str
    signers: list[Key]


class Signature(NamedTuple):
    name: str
    key_id: bytes
    data: bytes


def is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(letter.isspace() or ord(letter) < 32 for letter in name)


def read_key(text: str) -> Key:
    """Raises NoteError."""
    name, public, key_id = read_parts(text)
    key = Key(name, public)
    _need(key.id == key_id, "the key's ID does not fit to its name and bytes: a character is missing or mistyped")
    return key


def read_signer(text: str) -> Signer:
    """Raises NoteError, which never repeats a private key."""
    _need(text.startswith(_PRIVATE), "this is no private key of a signer of notes")
    name, seed, key_id = read_parts(text.removeprefix(_PRIVATE))
    signer = Signer(name, seed)
    _need(signer.key.id == key_id, "the private key's ID does not fit to its name and bytes")
    return signer


def sign(text: str, signers: Sequence[Signer]) -> str:
    """The whole note, signed by each. Raises NoteError for a text that no note can have."""
    _need(text.endswith("\n") and not _controls(text), "the text of a note ends in a newline and has no control characters")
    lines = [_line(Signature(signer.key.name, signer.key.id, signer.sign(text))) for signer in signers]
    _need(bool(lines), "a note is signed by somebody")
    return text + "\n" + "".join(lines)


def parse(note: str) -> tuple[str, list[Signature]]:
    """Text and signatures, none of them verified. Raises NoteError."""
    _need(len(note) <= LONGEST and not _controls(note), "the note is too long, or has control characters")
    body, blank, signatures = note.rpartition("\n\n")
    _need(bool(blank) and signatures.endswith("\n"), "the note has no signatures after an empty line")
    lines = signatures[:-1].split("\n")
    _need(len(lines) <= MOST_SIGNATURES, f"the note has more than {MOST_SIGNATURES} signatures")
    return body + "\n", [_signature(line) for line in lines]


def open_note(note: str, known: Iterable[Key]) -> Opened:
    """The note's text, if a key that is known signed it. Raises NoteError: also where the signature of one known key is wrong."""
    text, signatures = parse(note)
    keys = {(key.name, key.id): key for key in known}
    signers: list[Key] = []
    for signature in signatures:
        key = keys.get((signature.name, signature.key_id))
        if key is None or key in signers:
            continue  # unknown ones are to be ignored, and a key signs once
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature.data, text.encode())
        except InvalidSignature:
            raise NoteError(f"the signature of {key.name}+{key.id.hex()} does not fit to the text") from None
        signers.append(key)
    _need(bool(signers), "no key that is known signed this note")
    return Opened(text, signers)


def add(note: str, signatures: Iterable[Signature]) -> str:
    """The same note with further signatures, for instance of witnesses."""
    return note + "".join(map(_line, signatures))


def _line(signature: Signature) -> str:
    return f"{_DASH}{signature.name} {base64.b64encode(signature.key_id + signature.data).decode()}\n"


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    _need(line.startswith(_DASH) and bool(space) and is_name(name), "a line of signature has not the form: dash, name, base64")
    data = _decoded(encoded)
    _need(len(data) > 4, "a signature is too short")
    return Signature(name, data[:4], data[4:])


def read_parts(text: str, kind: bytes = ED25519) -> tuple[str, bytes, bytes]:
    """Name, 32 bytes and ID of a key's text. kind: the type of its signatures. Raises NoteError."""
    name, _, rest = text.partition("+")
    key_id, plus, encoded = rest.partition("+")
    _need(bool(plus) and is_name(name) and len(key_id) == 8 and all(c in "0123456789abcdef" for c in key_id), "this is no key of a note")
    data = _decoded(encoded)
    _need(data[:1] == kind and len(data) == 33, f"the key is not of the type {kind.hex()}")
    return name, data[1:], bytes.fromhex(key_id)


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("what should be base64 is not") from None
    _need(base64.b64encode(data).decode() == text, "what should be base64 is not written as it should be")
    return data


def _controls(text: str) -> bool:
    return any(letter < " " and letter != "\n" for letter in text)


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise NoteError(message)
