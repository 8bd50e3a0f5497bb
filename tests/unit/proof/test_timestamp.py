"""Owns that an answer of a timestamp authority is read whatever the order of its certificates is, and garbage does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from auditlog.proof import timestamp
from auditlog.proof.timestamp import TimestampError
from tests.authority import make, reply

NOTE = b"auditlog/1\n3\nAAAA\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("authority") / "one")


@pytest.fixture(scope="module")
def answer(folder: Path) -> bytes:
    return reply(folder, timestamp.query(NOTE).data)


def test_the_order_in_which_openssl_writes_certificates_is_no_fault(answer: bytes, folder: Path) -> None:
    ordered = timestamp._ordered(answer)
    assert ordered != answer and sorted(ordered) == sorted(answer) and timestamp._ordered(ordered) == ordered
    roots = timestamp.read_roots((folder / "root.pem").read_bytes())
    assert timestamp.stamped(answer, NOTE, roots) == timestamp.stamped(ordered, NOTE, roots) == timestamp.imprinted(answer, NOTE)


def test_one_changed_byte_is_found_or_changes_nothing_that_is_signed(answer: bytes, folder: Path) -> None:
    roots, said, tried = timestamp.read_roots((folder / "root.pem").read_bytes()), timestamp.imprinted(answer, NOTE), 0
    for place in range(len(answer)):
        changed = bytearray(answer)
        changed[place] ^= 1
        try:
            assert timestamp.stamped(bytes(changed), NOTE, roots) == said
        except TimestampError:
            tried += 1
    assert tried > 0.9 * len(answer)


def element(tag: int, content: bytes) -> bytes:
    """In DER, with two bytes of length, as all here are long enough."""
    return bytes([tag, 0x82]) + len(content).to_bytes(2) + content


def with_another(answer: bytes, certificate: bytes) -> bytes:
    """The answer with one more certificate in it, which nobody signs."""

    def parts(data: bytes) -> list[bytes]:
        (_, inside, end), *_ = timestamp._elements(data, 0, len(data))
        return [data[start:end] for start, _, end in timestamp._elements(data, inside, end)]

    status, token = parts(answer)
    kind, content = parts(token)
    version, digests, signed, certificates, *signers = parts(parts(content)[0])
    more = element(0xA0, b"".join([*parts(certificates), certificate]))
    return element(0x30, status + element(0x30, kind + element(0xA0, element(0x30, version + digests + signed + more + b"".join(signers)))))


def test_a_certificate_that_is_slipped_in_is_ignored_or_refused(answer: bytes, folder: Path) -> None:
    pem = (folder / "root.pem").read_bytes()
    (root,) = roots = timestamp.read_roots(pem)
    der = root.public_bytes(Encoding.DER)
    assert timestamp.stamped(with_another(answer, der), NOTE, roots) == timestamp.imprinted(answer, NOTE)
    version = bytes.fromhex("a003020102")
    with pytest.raises(TimestampError, match="signature_wrong"):
        timestamp.stamped(with_another(answer, der.replace(version, version[:-1] + b"\7")), NOTE, roots)


@given(st.data())
def test_what_is_no_answer_is_refused_and_nothing_else_happens(answer: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(answer)))
    junk = data.draw(st.binary(max_size=40))
    changed = answer[:start] + junk + answer[start + data.draw(st.integers(0, 40)) :]
    for one in (changed, junk):
        try:
            timestamp.imprinted(one, NOTE)
        except TimestampError:
            pass  # the only thing that may be raised
