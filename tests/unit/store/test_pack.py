"""Owns the checks that packing loses nothing, names the same item the same way, and commits to every field."""

import hashlib
import json
import os
import random
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog import item as items
from auditlog.ingest import rest
from auditlog.ingest.decode import decode
from auditlog.item import SPAN, Context, Item, Span
from auditlog.proof import canonical
from auditlog.store import cut, fields, unpack
from auditlog.store.pack import Packed, Packer
from tests import corpus
from tests.damage import shortened
from tests.item_strategies import any_item

SECRET = b"s" * 32
PINNED = (  # spans and log records, cut prompts of both separators, chains, nested values; never to be extended: its digest is pinned
    "langchain-openinference/runaway", "langchain-traceloop/runaway", "openai-agents-v2/runaway", "pydantic-ai-v5/runaway",
    "openai_v2_legacy_events/chat_invalid_args", "otel_genai_span_only/anthropic_refund", "strands-own/refund", "autogen-own/refund",
    "vercel_ai_v6/anthropic_large_result",
)  # fmt: skip


def content_of(packed: list[Packed]) -> dict[bytes, bytes]:
    return {sha: data for event in packed for sha, data in [*event.longs, *event.shared]}


def span(attributes: list[items.Attribute], **more: object) -> Span:
    return Span(Context(), b"t" * 16, b"s" * 8, "chat", 1, 2, attributes, **more)  # type: ignore[arg-type]


def conversation(turns: int, separators: tuple[str, str] = (", ", ": ")) -> str:
    return json.dumps([{"role": "user", "content": f"message {n} " + "x" * 400} for n in range(turns)], separators=separators)


@settings(max_examples=300)
@given(st.lists(any_item, min_size=1, max_size=4))
def test_every_item_comes_back_equal_and_intact(batch: list[Item]) -> None:
    packed = Packer().pack(batch, SECRET)
    content = content_of(packed)
    for item, event in zip(batch, packed, strict=True):
        parsed = unpack.parse(event.skeleton, event.vals)
        assert unpack.build(parsed, content) == item
        assert set(unpack.check(parsed).values()) <= {"intact"}
        assert canonical.digest(event.skeleton) == event.digest


@given(any_item, st.randoms(use_true_random=False))
def test_of_attributes_only_those_that_are_wanted_are_made(item: Item, chance: random.Random) -> None:
    [event] = Packer().pack([item], SECRET)
    sent = getattr(item, "attributes", [])
    keys = {key for key, _, _ in sent if chance.random() < 0.5}
    built = unpack.build(unpack.parse(event.skeleton, event.vals), content_of([event]), wanted=keys.__contains__)
    assert getattr(built, "attributes", []) == [one for one in sent if one[0] in keys]


@given(st.lists(any_item, min_size=1, max_size=3))
def test_a_resend_gets_the_same_ids_and_other_digests(batch: list[Item]) -> None:
    packer = Packer()
    first, second = packer.pack(batch, SECRET), packer.pack(batch, SECRET)
    assert [(e.trace_key, e.event_id) for e in first] == [(e.trace_key, e.event_id) for e in second]
    for one, other in zip(first, second, strict=True):  # another seed: a digest tells nothing about the values
        assert (one.digest != other.digest) == bool(unpack.parse(one.skeleton, one.vals).commitments)
    assert {e.event_id for e in first}.isdisjoint(e.event_id for e in packer.pack(batch, b"other" * 6 + b"xx"))


def test_identical_items_of_one_request_are_two_events() -> None:
    packed = Packer().pack([span([]), span([])], SECRET)
    assert packed[0].event_id != packed[1].event_id


def test_a_conversation_that_grows_costs_what_was_said_once() -> None:
    packer, seen, size = Packer(), set(), []
    for turns in range(1, 101):
        [event] = packer.pack([span([("gen_ai.input.messages", items.STRING, conversation(turns))])], SECRET)
        size.append(len(event.vals) + sum(len(data) for sha, data in event.longs if sha not in seen))
        seen |= {sha for sha, _ in event.longs}
    assert max(size) < 2_500  # one message of 430 bytes, one reference to it, now and then a node; the prompt itself is 43 KB
    assert sum(size[50:]) < 1.2 * sum(size[:50])


ELEMENTS = st.lists(
    st.one_of(st.integers(), st.sampled_from(["", ",", '"]', "x" * 300, "y" * 300]), st.lists(st.integers(), max_size=2)), max_size=40
)
WAYS: list[dict[str, Any]] = [{"separators": (",", ":")}, {"separators": (", ", ": ")}, {"indent": 1}, {"separators": (" ,", ":")}]


@given(
    ELEMENTS, st.lists(st.tuples(st.integers(0, 40), st.sampled_from(WAYS), st.sampled_from(["", "", "", " ", ", NaN]", ",]"])), max_size=6)
)
def test_a_prompt_that_extends_the_last_one_is_stored_as_if_it_came_alone(
    said: list[object], prompts: list[tuple[int, dict[str, Any], str]]
) -> None:
    packer, padding = Packer(), ["z" * 300]
    for turns, way, end in prompts:
        both = [json.dumps(padding + said[:most], **way) for most in (turns, turns + 1)]
        texts = [text[:-1] + end if end[-1:] == "]" else text + end for text in both]
        item = span([("gen_ai.input.messages", items.STRING, texts[0]), ("input.value", items.STRING, texts[1])])
        [after], [alone] = packer.pack([item], SECRET), Packer().pack([item], SECRET)
        assert after.event_id == alone.event_id and dict(after.longs) == dict(alone.longs)
        assert unpack.build(unpack.parse(after.skeleton, after.vals), content_of([after])) == item


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_prompt_that_extends_the_last_one_of_its_trace_is_cut_only_where_it_is_new(
    separators: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_bytes: list[int] = []
    split = cut.split

    def counted(data: bytes) -> Any:
        cut_bytes.append(len(data))
        return split(data)

    monkeypatch.setattr(cut, "split", counted)
    packer = Packer()
    for turns in range(2, 52):
        packer.pack([span([("gen_ai.input.messages", items.STRING, conversation(turns, separators))])], SECRET)
    assert sum(cut_bytes) < len(conversation(51, separators)) + 51


def test_prompts_are_remembered_within_bounds_whatever_their_elements() -> None:
    packer = Packer()

    def remember(number: int, text: str) -> None:
        item = Span(Context(), number.to_bytes(16), b"s" * 8, "chat", 1, 2, [("gen_ai.input.messages", items.STRING, text)])
        packer.pack([item], SECRET)

    remember(1, json.dumps([10] * 60_000))
    remember(1, json.dumps(["x" * 5_000_000]))
    assert not packer._prompts
    for number in range(1, 16):
        remember(number, json.dumps([10] * 19_000))
    assert 0 < sum(len(prompt.entries) for prompt in packer._prompts.values()) * 200 < 50_000_000


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_both_usual_separators_are_cut(separators: tuple[str, str]) -> None:
    [event] = Packer().pack([span([("gen_ai.input.messages", items.STRING, conversation(3, separators))])], SECRET)
    assert len(event.longs) == 3


@pytest.mark.parametrize("broken", ['[{"a": NaN}, ' + "1," * 200 + "1]", '["\\ud800"' + ', "x"' * 100 + "", "[" * 500])
def test_what_cannot_be_cut_exactly_stays_whole(broken: str) -> None:
    item = span([("gen_ai.input.messages", items.STRING, broken)])
    [event] = Packer().pack([item], SECRET)
    assert unpack.build(unpack.parse(event.skeleton, event.vals), content_of([event])) == item


def test_a_log_without_a_trace_is_kept_with_its_session() -> None:
    def log(session: str) -> items.Log:
        return items.Log(Context(), 1, 1, None, [("session.id", items.STRING, session)] if session else [])

    a, b, c, d = Packer().pack([log("s-1"), log("s-1"), log("s-2"), log("")], SECRET)
    assert a.trace_key == b.trace_key != c.trace_key
    assert d.trace_key == d.event_id


def test_an_item_without_a_time_is_undated() -> None:
    [event] = Packer().pack([items.Log(Context(), 0, 0, None, [])], SECRET)
    assert event.occurred_ns is None


def test_erasing_a_field_leaves_the_rest_and_forgets_the_value() -> None:
    secret_value = "417"
    item = span([("customer.id", items.STRING, secret_value), ("gen_ai.request.model", items.STRING, "m")])
    [event] = Packer().pack([item], SECRET)
    erased = unpack.erase(event.vals, fields.IDENTITY)
    parsed = unpack.parse(event.skeleton, erased)
    verdicts = unpack.check(parsed)
    assert verdicts.pop(fields.IDENTITY) == "withheld"
    assert set(verdicts.values()) == {"intact"}
    built = unpack.build(parsed, {})
    assert isinstance(built, Span)
    assert built.attributes == [("customer.id", items.WITHHELD, None), ("gen_ai.request.model", items.STRING, "m")]
    assert guesses_that_fit(event.skeleton, event.vals) == [secret_value]  # before: whoever has the values can check a guess
    assert guesses_that_fit(event.skeleton, erased) == []
    assert guesses_that_fit(event.skeleton, unpack.erase(erased, fields.OTHER)) == []


def guesses_that_fit(skeleton: bytes, vals: bytes) -> list[str]:
    """Which of the thousand three-digit values an attacker with both halves can tell to be the erased one: with every salt
    that is left, and with every salt that the remaining bytes would give as a seed."""
    parsed = unpack.parse(skeleton, vals)
    blobs = [bytes(raw) for raw in msgspec.msgpack.decode(vals, type=list[msgspec.Raw])]
    tries = [*parsed.salts.values(), b"", bytes(16)]
    for blob in [skeleton, vals, *blobs]:
        for start in range(len(blob) - 15):
            tries.append(blob[start : start + 16])
            tries.append(canonical.salt_of(canonical.salts(blob[start : start + 16]), fields.IDENTITY))
    committed = parsed.commitments[fields.IDENTITY]
    guesses = {f"{n:03}": msgspec.msgpack.encode([f"{n:03}"]) for n in range(1000)}
    return [guess for guess, entries in guesses.items() if any(canonical.commitment(salt, entries) == committed for salt in set(tries))]


def test_a_changed_value_is_noticed() -> None:
    [event] = Packer().pack([span([("amount", items.INT, 400)])], SECRET)
    form, prefix, seed, *told = msgspec.msgpack.decode(event.vals)
    entries = dict(zip(told[::2], told[1::2], strict=True))

    def checked(changed: dict[int, list[Any]]) -> dict[int, str]:
        vals = [form, prefix, seed, *(one for pair in {**entries, **changed}.items() for one in pair)]
        return unpack.check(unpack.parse(event.skeleton, msgspec.msgpack.encode(vals)))

    assert set(checked({}).values()) == {"intact"}
    assert checked({fields.OTHER: ["chat", "", 40]})[fields.OTHER] == "changed"
    assert checked({fields.REASONING: ["because"]})[fields.REASONING] == "changed"


@pytest.mark.parametrize(
    "skeleton, vals", [(b"", b""), (b"\xc1", b"\x90"), (msgspec.msgpack.encode([9, 1, b"", [], []]), msgspec.msgpack.encode([9, b"", b""]))]
)
def test_a_form_of_another_version_is_refused_with_a_word(skeleton: bytes, vals: bytes) -> None:
    with pytest.raises(unpack.FormatError):
        unpack.parse(skeleton, vals)


@pytest.mark.parametrize("skeleton, vals", [
    ([1, 1, b"", [], []], [1, b"", b""]),
    ([1, 1, b"", {"no": "list"}, []], [1, b"", b""]),
    ([1, 1, b"", [99], []], [1, b"", b""]),
    ([1, 1, b"", [1], []], [1, b"", b"", 1, "no list"]),
    ([1, 1, b"", [1], []], [1, [], b""]),
    (["said by somebody", 1, b"", [1], []], ["said by somebody", b"", b""]),
    ([1, 1, b"", msgspec.Raw(b"\x91" * 5_000 + b"\x90"), []], [1, b"", b""]),
    ([1, 1, b"", [1], [1, b"", "mixed", b""]], [1, b"", b"", 2, []]),
])  # fmt: skip
def test_what_somebody_changed_into_no_form_is_an_error_that_quotes_nothing(skeleton: list[Any], vals: list[Any]) -> None:
    with pytest.raises(unpack.FormatError) as found:
        unpack.build(unpack.parse(msgspec.msgpack.encode(skeleton), msgspec.msgpack.encode(vals)), {})
    assert "said" not in str(found.value)


@pytest.mark.parametrize(
    "item",
    [
        span([("amount", items.INT, 400)]),
        rest.event(b'{"kind": "model_call", "session_id": "s", "at": "2026-01-01T00:00:00Z"}'),
    ],
)
def test_an_item_with_fewer_values_than_its_skeleton_says_is_an_error_and_no_end_of_a_list(item: items.Item) -> None:
    """StopIteration, let through to whoever goes through events, would pass for the end of them: those behind it would be missing."""
    [event] = Packer().pack([item], SECRET)
    parsed = unpack.parse(event.skeleton, shortened(event.vals))
    with pytest.raises(unpack.FormatError):
        unpack.build(parsed, {})


def test_what_is_stored_of_captured_cases_is_the_same_to_the_byte_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changes how it is made (faster, tidier) must store the same. A new form is a new FORMAT or a new fields.VERSION."""
    monkeypatch.setattr(os, "urandom", lambda size: hashlib.shake_256(b"seeds").digest(size))
    packer, stored = Packer(), hashlib.sha256()
    for name in PINNED:
        for event in packer.pack(corpus.items(name), SECRET):
            content = sorted(dict(event.longs).items()), sorted(dict(event.shared).items())
            stored.update(repr((*event[:10], *content)).encode())
    assert stored.hexdigest() == "f9ffcd7e5d8e3fab139de1e316bce02540d7c09f8810b5ada70b1b7b4c9c89b0"


@pytest.mark.parametrize("bits", [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8DEADBEEF0001])
def test_the_bits_of_a_nan_are_kept_of_protobuf(bits: int) -> None:
    attribute = b"\x0a\x01k\x12\x09\x21" + struct.pack("<Q", bits)
    span = b"\x0a\x10" + b"t" * 16 + b"\x12\x08" + b"s" * 8 + b"\x4a" + bytes([len(attribute)]) + attribute
    body = b"\x0a" + bytes([len(span) + 4]) + b"\x12" + bytes([len(span) + 2]) + b"\x12" + bytes([len(span)]) + span
    (packed,) = Packer().pack(decode(body, SPAN, "protobuf"), SECRET)
    item = unpack.build(unpack.parse(packed.skeleton, packed.vals), content_of([packed]))
    assert isinstance(item, Span) and struct.pack("<d", item.attributes[0][2]) == struct.pack("<Q", bits)
