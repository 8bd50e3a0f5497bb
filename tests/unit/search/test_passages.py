"""Owns the checks of passages: verbatim whatever is marked in them, found as origins are found, marked by shared words alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.search import passages

RULES = """You are the refunds agent.

# Rules
1. Call lookup_customer_history before you speak of a charge.
2. A credit of more than 250 USD needs approval. Ask for it!
3. a. Never credit more than the charge."""
CALL = {"name": "issue_credit", "arguments": {"amount_usd": 250, "reason": "Duplicate charges"}}


def text_of(found: list[passages.Paragraph]) -> str:
    return "".join("".join(piece.text for piece in one.pieces) + one.space for one in found)


@given(st.text(st.characters() | st.sampled_from(" \n.;!?a1\0\u202e"), max_size=200), st.sets(st.sampled_from(["a", "charge", "1"])))
def test_the_passages_of_any_text_are_the_text(instruction: str, words: set[str]) -> None:
    found = passages.paragraphs(instruction, words)
    assert text_of(found) == instruction
    assert all(instruction[one.start : one.end] == "".join(piece.text for piece in one.pieces) + one.space for one in found)


def test_a_passage_is_a_line_or_a_sentence_and_no_number_of_a_list() -> None:
    said = ["".join(piece.text for piece in one.pieces) for one in passages.paragraphs(RULES, set())]
    assert said == [
        "You are the refunds agent.", "# Rules", "1. Call lookup_customer_history before you speak of a charge.",
        "2. A credit of more than 250 USD needs approval.", "Ask for it!", "3. a. Never credit more than the charge.",
    ]  # fmt: skip


def test_words_and_numbers_that_the_call_has_are_marked_and_no_others() -> None:
    found = passages.paragraphs(RULES, passages.words_of_call(CALL))
    marked = [[piece.text for piece in one.pieces if piece.shared] for one in found]
    assert marked == [[], [], ["charge"], ["credit", "250"], [], ["credit", "charge"]]
    assert [one.close for one in found] == [False, False, False, True, False, True]


def test_a_word_that_most_passages_have_marks_none() -> None:
    text = "\n".join(f"The customer number {n} is a customer." for n in range(6)) + "\nOne credit."
    found = passages.paragraphs(text, {"customer", "credit"})
    assert [piece.text for one in found for piece in one.pieces if piece.shared] == ["credit"]


@pytest.mark.parametrize(
    ("step", "value", "found"),
    [
        ({"text": "I was charged $400.00 twice."}, 400, ("", "I was charged $", "400.00", " twice.")),
        ({"text": "Kunde  ACME-2024\nbittet"}, "acme-2024", ("", "Kunde  ", "ACME-2024", "\nbittet")),
        ({"tool": {"result": '{"charges": [{"amount": 400.0}]}'}}, 400, ("/charges/0/amount", "", "400.0", "")),
        ({"tool": {"result": {"flag": True}}}, 1, None),
        ({"text": "nothing of it"}, 400, None),
        ({"text": "4000 and 1400"}, 400, None),
        ({"text": "a  b"}, "a b", ("", "", "a  b", "")),
    ],
)
def test_a_value_is_shown_where_it_stands(step: dict[str, Any], value: Any, found: Any) -> None:
    assert passages.where(step, value) == (None if found is None else passages.Passage(*found))


def test_what_stands_around_a_value_is_cut_and_says_so() -> None:
    before, said, after = passages.cut("x" * 200 + "400" + "y" * 200, 200, 203)
    assert (before, said, after) == ("…" + "x" * 90, "400", "y" * 90 + "…")
