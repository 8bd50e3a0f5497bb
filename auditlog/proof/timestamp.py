"""Owns timestamps of checkpoints (RFC 3161): what is asked of an authority, and whether an answer is its timestamp of these bytes. Pure.

What is stamped is the SHA-256 of a checkpoint's note as it was signed and is stored, in UTF-8, without the cosignatures that witnesses add.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from cryptography.x509 import Certificate, ObjectIdentifier, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerifierBuilder,
    decode_timestamp_response,
)

_SHA256: Final = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_CERTIFICATES: Final = 0xA0  # the tag of the set in SignedData

Reason = Literal["answer", "rejected", "nonce_wrong", "imprint_wrong", "signature_wrong"]


class TimestampError(Exception):
    """reason: a code, docs/operate/log.md says what it means."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Final = reason


class Query(NamedTuple):
    """A question, and the number in it that its answer has to have."""

    data: bytes
    nonce: int


def read_roots(pem: bytes) -> list[Certificate]:
    """Raises ValueError for what is no PEM, or has no certificate in it."""
    return load_pem_x509_certificates(pem)


def query(note: bytes) -> Query:
    """The authority's certificate is asked for, so that whoever has the answer needs nothing else from it."""
    made = (
        TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256).nonce(nonce=True).cert_request(cert_request=True).build()
    )
    assert made.nonce is not None
    return Query(made.as_bytes(), made.nonce)


def imprinted(answer: bytes, note: bytes) -> datetime:
    """The time in an answer that was granted over this note. Raises TimestampError. Nothing says who signed it: see `stamped`."""
    return _imprinted(_read(answer), note)


def stamped(answer: bytes, note: bytes, roots: Sequence[Certificate], nonce: int | None = None) -> datetime:
    """The same of an answer whose signature leads to one of the roots, at its own time. Raises TimestampError."""
    found = _read(answer)
    at = _imprinted(found, note)
    if nonce is not None and found.tst_info.nonce != nonce:
        raise TimestampError("nonce_wrong")
    try:
        VerifierBuilder(roots=list(roots)).build().verify(found, hashlib.sha256(note).digest())
    except Exception as error:  # whatever a library stumbles on in certificates of somebody else: such an answer cannot be believed
        raise TimestampError("signature_wrong") from error
    return at


def _read(answer: bytes) -> TimeStampResponse:
    try:
        return decode_timestamp_response(_ordered(answer))
    except ValueError as error:
        raise TimestampError("answer") from error


def _imprinted(found: TimeStampResponse, note: bytes) -> datetime:
    if found.status != PKIStatus.GRANTED:
        raise TimestampError("rejected")
    try:
        said, at = found.tst_info.message_imprint, found.tst_info.gen_time
    except ValueError as error:
        raise TimestampError("answer") from error
    if (said.hash_algorithm, said.message) != (_SHA256, hashlib.sha256(note).digest()):
        raise TimestampError("imprint_wrong")
    return at


def _ordered(answer: bytes) -> bytes:
    """The same with the certificates in the order of DER, which the library demands and OpenSSL does not write. Nobody signs their order.

    What cannot be taken apart stays as it is: the library says what is wrong with it.
    """
    try:
        start, end = 0, len(answer)
        for number in (0, 1, 1, 0):  # the response, its token, the content of that, SignedData
            _, start, end = _elements(answer, start, end)[number]
        _, start, end = next(one for one in _elements(answer, start, end) if answer[one[0]] == _CERTIFICATES)
        return answer[:start] + b"".join(sorted(answer[a:b] for a, _, b in _elements(answer, start, end))) + answer[end:]
    except (IndexError, ValueError, StopIteration):
        return answer


def _elements(data: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    """(where it begins, where its content does, where it ends) of each element of DER between two places. Raises IndexError, ValueError."""
    found = []
    while start < end:
        length, inside = data[start + 1], start + 2
        if length & 0x80:
            inside += length & 0x7F
            length = int.from_bytes(data[start + 2 : inside])
        if inside + length > end:
            raise ValueError("an element ends after what it is in")
        found.append((start, inside, inside + length))
        start = inside + length
    return found
