"""Owns the checks of the offline verifier without a folder: it reads what is packed, makes the same copy, and trusts no bytes."""

from __future__ import annotations

import json
import secrets

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.item import Item, Log, Rest, Span, Unreadable
from auditlog.otlp_json import document
from auditlog.proof import canonical, merkle
from auditlog.store import fields, unpack
from auditlog.store.pack import Packer
from auditlog.verify import standalone
from auditlog.verify.standalone import Copy, Wrong
from tests import corpus, sealing
from tests.item_strategies import any_item

SECRET = secrets.token_bytes(32)


def copies(items: list[Item], withheld: int | None = None) -> list[tuple[object, object]]:
    """(what the verifier makes, what an export writes) of each item; of one field nothing is left."""
    made = []
    for packed in Packer().pack(items, SECRET):
        content = dict(packed.longs + packed.shared)
        vals = packed.vals if withheld is None else unpack.erase(packed.vals, withheld)
        event = standalone.read_event(packed.skeleton, vals)
        assert (event.digest, event.changed, event.event_id) == (canonical.digest(packed.skeleton), [], packed.event_id)
        item = unpack.build(unpack.parse(packed.skeleton, vals), content)
        expected: object = None
        if isinstance(item, Rest):
            expected = item.raw().decode()
        elif isinstance(item, Span | Log):
            expected = json.loads(document(item) or b"")
        made.append((Copy(event, content.get).make(), expected))
    return made


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(any_item, min_size=1, max_size=4), withheld=st.none() | st.sampled_from(sorted(fields.NAMES)))
def test_the_copy_for_people_of_a_random_item_is_made_again(batch: list[Item], withheld: int | None) -> None:
    for made, expected in copies(batch, withheld):
        assert made == expected


@pytest.mark.parametrize("name", corpus.names()[::6])
def test_the_copy_for_people_of_a_captured_case_is_made_again(name: str) -> None:
    for made, expected in copies(corpus.items(name)):
        assert made == expected


def test_its_table_of_fields_is_that_of_the_store() -> None:
    assert standalone.INTERNED == fields.INTERNED and standalone.FIELDS == fields.NAMES
    keys = {key for name in corpus.names()[::4] for item in corpus.items(name) for key, *_ in getattr(item, "attributes", [])}
    assert len(keys) > 100
    for key in keys | set(fields.SESSION_KEYS) | set(fields.INTERNED):
        assert standalone.field_of(key) == fields.field_of(key)[0], key
    assert [(field, rule.pattern) for field, rule in standalone.RULES] == [(field, rule.pattern) for field, rule in fields._RULES]


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    skeleton, vals = Packer().pack([Unreadable(1, "protobuf", b"x", "item_undecodable", "none")], SECRET)[0][6:8]
    for first, second in ((data, vals), (skeleton, data), (skeleton[: len(data) % len(skeleton)] + data, vals)):
        try:
            standalone.read_event(first, second)
        except Wrong as wrong:
            assert wrong.code == "unreadable"


@settings(max_examples=60, deadline=None)
@given(value=st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text() | st.integers(0, 300), inner, max_size=20), max_leaves=60,
))  # fmt: skip
def test_it_reads_messagepack_as_it_is_written(value: object) -> None:
    assert standalone.unpack(msgspec.msgpack.encode(value)) == value


NEVER = [b"\x81", b"\xc1", b"\xd9\x05ab", b"\x92\x01", b"\x82\x01\x01\x01\x02", b"\x01\x01", b"\xa1\xff", b"\x91" * 40 + b"\x01"]


@pytest.mark.parametrize("data", NEVER)
def test_it_refuses_messagepack_that_is_never_written(data: bytes) -> None:
    with pytest.raises((Wrong, ValueError)):
        standalone.unpack(data)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 100])
def test_its_roots_and_paths_are_those_of_the_definition(size: int) -> None:
    leaves = [bytes([n]) for n in range(size)]
    root = standalone.merkle_root(leaves)
    assert root == sealing.mth(leaves) == merkle.root(leaves)
    for index in range(size):
        path = sealing.path(index, leaves)
        assert standalone.included(leaves[index], index, size, path, root)
        assert not standalone.included(leaves[index], (index + 1) % size if size > 1 else 1, size, path, root)
        assert not standalone.included(b"x", index, size, path, root)


@pytest.mark.parametrize("time", ["2026-03-01T10:00:00Z", "2026-13-01T10:00:00.000000Z", "2026-03-01T10:00:00.000000+01:00", "٢٠26"])
def test_it_refuses_times_that_an_export_never_writes(time: str) -> None:
    with pytest.raises(Wrong):
        standalone.microseconds(time)
