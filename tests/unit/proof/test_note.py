"""Owns the checks of signed notes, checkpoints and entries against the specifications' own examples, and of what is no note."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.proof import checkpoint, leaf, note

# The example of C2SP's signed-note ("Verifier keys").
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example of golang.org/x/mod/sumdb/note, with the private key that it publishes; Ed25519 signs the same text the same way.
PETER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_NOTE = f"{TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
# A tree note that the checksum database of Go has published, and the key that every go command carries.
GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_NOTE = (
    "go.sum database tree\n15368405\n/g9am3I6YWNKaZX/jkne1fqd9zEyjss+JXyPXG0WfkY=\n\n"
    "— sum.golang.org Az3grqJGUaSGukG9p8nI2vKgiFn7qGHxn0W+mrwyI6Gz3F0t1J3LzmWk/p96Ybf295EjwdSwlzgijq5WA9d1Ded7owM=\n"
)


@pytest.mark.parametrize(("key", "signed"), [(SPEC_KEY, SPEC_NOTE), (PETER_KEY, PETER_NOTE), (GO_KEY, GO_NOTE)])
def test_published_notes_open_with_their_published_keys(key: str, signed: str) -> None:
    known = note.read_key(key)
    assert known.text() == key
    assert note.open_note(signed, [known]) == (signed.rpartition("\n\n")[0] + "\n", [known])
    with pytest.raises(note.NoteError, match="does not fit"):
        note.open_note(signed.replace("e", "f", 1), [known])


def test_the_published_private_key_signs_byte_for_byte_as_published() -> None:
    signer = note.read_signer(PETER)
    assert (signer.text(), signer.key.text()) == (PETER, PETER_KEY)
    assert note.sign(TEXT, [signer]) == PETER_NOTE


def test_the_published_tree_note_is_a_checkpoint() -> None:
    opened = note.open_note(GO_NOTE, [note.read_key(GO_KEY)])
    found = checkpoint.read(opened.text)
    assert (found.origin, found.size, found.root[:2].hex()) == ("go.sum database tree", 15_368_405, "fe0f")
    assert checkpoint.body(found) == opened.text


def signers() -> list[note.Signer]:
    return [note.Signer("example.org/log", bytes([n] * 32)) for n in (1, 2)]


def test_a_note_signed_by_two_opens_with_either_and_says_who_signed() -> None:
    old, new = signers()
    signed = note.sign("text\n", [old, new])
    assert note.open_note(signed, [old.key]).signers == [old.key]
    assert note.open_note(signed, [new.key]).signers == [new.key]
    assert note.open_note(signed, [new.key, old.key]).signers == [old.key, new.key]


def test_a_note_of_strangers_does_not_open_and_a_wrong_signature_of_one_known_key_spoils_it() -> None:
    old, new = signers()
    signed = note.sign("text\n", [old])
    with pytest.raises(note.NoteError, match="no key that is known"):
        note.open_note(signed, [new.key])
    forged = note.add(signed, [note.Signature(new.key.name, new.key.id, b"\0" * 64)])
    assert note.open_note(forged, [old.key]).signers == [old.key]
    with pytest.raises(note.NoteError, match="does not fit"):
        note.open_note(forged, [old.key, new.key])


def test_a_key_that_signs_twice_is_counted_once_and_the_second_signature_is_not_looked_at() -> None:
    (old, _) = signers()
    signed = note.add(note.sign("text\n", [old]), [note.Signature(old.key.name, old.key.id, b"\0" * 64)])
    assert note.open_note(signed, [old.key]).signers == [old.key]


@pytest.mark.parametrize(
    "text",
    [
        "", "text\n", "text\n\n", "text\n\n— name\n", "text\n\n- name AAAAAAAA\n", "text\n\n— name AAAA\n", "text\n\n— na+me AAAAAAAA\n",
        "text\n\n— name AAAAAAA\n", "text\n\n— name AAAAAAAB=\n", "text\n\n— name AAAAAAAA", "text\r\n\n— name AAAAAAAA\n",
        "text\n\n— na me AAAAAAAA\n", "text\n\n— name AAAAAAAA\n\n", "text\n\n" + "— name AAAAAAAA\n" * 101,
        "t" * note.LONGEST + "\n\n— name AAAAAAAA\n",
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(note.NoteError):
        note.parse(text)


def test_an_empty_line_belongs_to_the_text_and_the_last_one_ends_it() -> None:
    (old, _) = signers()
    text = "one\n\n— two AAAAAAAA\n\nthree\n"
    assert note.open_note(note.sign(text, [old]), [old.key]).text == text


@pytest.mark.parametrize("text", ["no newline", "a tab\t\n", "a NUL\0\n"])
def test_a_text_that_no_note_can_have_is_not_signed(text: str) -> None:
    with pytest.raises(note.NoteError):
        note.sign(text, signers())


@pytest.mark.parametrize(
    "key", ["", "name", "name+00000000", SPEC_KEY[:-1], SPEC_KEY.replace("530d", "530e"), SPEC_KEY.upper(), SPEC_KEY.replace("Aek", "Bek")]
)
def test_a_mistyped_key_is_refused(key: str) -> None:
    with pytest.raises(note.NoteError):
        note.read_key(key)


@given(st.text(max_size=30), st.binary(min_size=32, max_size=32))
def test_every_text_that_can_be_signed_comes_back(text: str, seed: bytes) -> None:
    signer = note.Signer("n", seed)
    try:
        signed = note.sign(text + "\n", [signer])
    except (note.NoteError, UnicodeEncodeError):  # control characters, lone surrogates
        return
    assert note.open_note(signed, [signer.key]) == (text + "\n", [signer.key])
    assert note.read_signer(signer.text()).key == signer.key


@pytest.mark.parametrize(
    "text",
    [
        "", "o\n1\n", "o\n1\nAAAA\n", "o\n01\n" + "A" * 43 + "=\n", "o\n-1\n" + "A" * 43 + "=\n", "\n1\n" + "A" * 43 + "=\n",
        "o\n1\n" + "A" * 43 + "=", "o\n1\n" + "A" * 43 + "=\n\n", "o\n1\n" + "A" * 42 + "B=\n", "o\n\u0661\n" + "A" * 43 + "=\n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="checkpoint"):
        checkpoint.read(text)


NUMBER = st.integers(0, 2**63 - 1)
HASH = st.binary(min_size=32, max_size=32)
LEAVES = st.builds(
    leaf.Leaf, NUMBER, NUMBER, NUMBER, st.datetimes(datetime(2020, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
    NUMBER, HASH, NUMBER, NUMBER, HASH, NUMBER,
)  # fmt: skip


@given(LEAVES)
def test_an_entry_gives_its_leaf_back(one: leaf.Leaf) -> None:
    assert leaf.read(leaf.entry(one)) == one


def test_an_entry_is_the_text_of_the_decision() -> None:
    at = datetime(2026, 11, 26, 11, 40, 29, 123456, timezone(timedelta(hours=1)))
    one = leaf.Leaf(1234, 65910, 1, at, 512, b"?" * 32, 512, 0, b"!" * 32, 0)
    assert leaf.entry(one).decode() == (
        "auditlog part 1\nbatch 1234\nbucket 65910\nproject 1\nreceived 2026-11-26T10:40:29.123456Z\ncount 512\n"
        f"root {'3f' * 32}\nacknowledged 512\nduplicates 0\nreceipt {'21' * 32}\nclass 0\n"
    )


@given(LEAVES, st.data())
def test_an_entry_with_one_byte_changed_is_refused_or_is_another_leaf(one: leaf.Leaf, data: st.DataObject) -> None:
    entry = bytearray(leaf.entry(one))
    at = data.draw(st.integers(0, len(entry) - 1))
    entry[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = leaf.read(bytes(entry))
    except ValueError:
        return
    assert found != one and leaf.entry(found) == bytes(entry)


@pytest.mark.parametrize(
    "change",
    [
        ("batch 1\n", "batch 01\n"),
        ("class 0\n", "class 0\n\n"),
        ("part 1", "part 2"),
        ("Z\n", "+00:00\n"),
        ("root 3f", "root 3F"),
        ("-01-01T", "-02-30T"),
    ],
)
def test_an_entry_written_otherwise_is_refused(change: tuple[str, str]) -> None:
    entry = leaf.entry(leaf.Leaf(1, 2, 3, datetime(2026, 1, 1, tzinfo=UTC), 4, b"?" * 32, 5, 0, b"!" * 32, 0)).decode()
    assert entry.replace(*change) != entry
    with pytest.raises(ValueError):
        leaf.read(entry.replace(*change).encode())
