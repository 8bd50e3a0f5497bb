"""Owns the checks of excerpts: the right characters of the original are marked, in every script, within bounds that are said."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.derive.words import Sought, fold, units
from auditlog.search import wording
from auditlog.search.excerpts import AROUND, LONGEST, MOST, Excerpt, chosen
from tests.unit.derive.test_words import texts

LONG = "nothing of it here " * 400


def found(question: str, *said: str) -> list[Excerpt]:
    asked = wording.read(question)
    assert asked is not None
    return chosen([(n, "user_message", text, False, False) for n, text in enumerate(said)], [Sought(phrase) for phrase in asked.phrases])


def marked(question: str, text: str) -> list[str]:
    return [piece.text for one in found(question, text) for piece in one.pieces if piece.hit]


@pytest.mark.parametrize(
    ("question", "text", "hits"),
    [
        ("cafe", "Das Café, CAFÉ und cafe\u0301.", ["Café", "CAFÉ", "cafe\u0301"]),
        ("café", "cafe", ["cafe"]),
        ("strasse", "Die Straße", ["Straße"]),
        ("返金", "東京都の返金ポリシー", ["返金"]),
        ("金", "東京都の返金ポリシー", ["金"]),
        ("ﾎﾟﾘｼｰ", "返金ポリシー", ["ポリシー"]),
        ("ガス", "東京カ\u3099スの", ["カ\u3099ス"]),
        ("เงิน", "ลูกค้าขอเงินคืน", ["เงิน"]),
        ("محمد", "طلب مُحَمَّد اليوم", ["مُحَمَّد"]),
        ("المبلغ", "المبـــلغ", ["المبـــلغ"]),
        ("שלום", "אמר שָׁלוֹם לכולם", ["שָׁלוֹם"]),
        ("full", "ｆｕｌｌ refund", ["ｆｕｌｌ"]),
        ("refund", "a re\u00adfund, refunds and prerefund", ["re\u00adfund"]),
        ("1,234.50", "total 1,234.50 EUR", ["1,234.50"]),
        ("inv-1182", "see INV-1182, not 1182", ["INV-1182"]),
        ('"rule 3b" holds -denied', "rule 3b holds, rule denied", ["rule 3b", "holds"]),
        ("a b", "a b a", ["a", "b", "a"]),
        ("日本 日本語", "日本語と日本", ["日本語", "日本"]),
        ("nothing", "else", []),
    ],
)
def test_what_matched_is_marked_in_the_characters_of_the_original(question: str, text: str, hits: list[str]) -> None:
    assert marked(question, text) == hits


@given(texts, st.data())
def test_the_pieces_are_the_text_and_what_is_marked_folds_to_what_was_asked(text: str, data: st.DataObject) -> None:
    words = list(units(fold(text)))
    if not words:
        return
    word = data.draw(st.sampled_from(words)).text
    (one,) = found(f'"{word}"', text)
    assert "".join(piece.text for piece in one.pieces) == text and not one.before and not one.after
    hits = [piece.text for piece in one.pieces if piece.hit]
    assert hits and all(fold(word) in unicodedata.normalize("NFC", fold(hit)) for hit in hits)


def test_an_excerpt_ends_between_words_and_says_where_the_text_goes_on() -> None:
    (one,) = found("needle", LONG + "needle " + LONG)
    said = "".join(piece.text for piece in one.pieces)
    assert one.before and one.after and len(said) <= 2 * AROUND + 6
    assert f" {said} " in f" {LONG}needle {LONG}" and set(said.split()) <= {"nothing", "of", "it", "here", "needle"}
    (first,) = found("needle", "needle " + LONG)
    assert not first.before and first.after
    (endless,) = found("x" * 900, "x" * 900)
    assert endless.after and sum(len(piece.text) for piece in endless.pieces) <= LONGEST + AROUND


def test_a_letter_keeps_its_marks_where_an_excerpt_is_cut() -> None:
    (one,) = found("返金", "e\u0301" * 300 + "返金" + "e\u0301" * 300)
    said = "".join(piece.text for piece in one.pieces)
    assert said[0] == "e" and said[-1] == "\u0301"


def test_a_session_shows_a_few_passages_that_have_most_of_what_was_asked_in_the_order_of_its_steps() -> None:
    said = ["alpha", "alpha", "alpha alpha", "beta", "alpha", "alpha beta", "gamma"]
    assert [one.step for one in found("alpha beta gamma", *said)] == [0, 5, 6]
    assert len(found("alpha", *["alpha"] * 500)) == MOST
    assert len(found("alpha", " ".join(["alpha", LONG] * 3))) == 1  # of one step, one says it


def test_a_question_of_hundreds_of_words_costs_no_more_than_its_length() -> None:
    words = [first + second for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnop"]
    asked = wording.read(" ".join(words))
    assert asked is not None
    patterns = [Sought(phrase) for phrase in asked.phrases]
    begun = time.perf_counter()
    for _ in range(20):
        assert len(chosen([(0, "user_message", " ".join(words), False, False)], patterns)) == 1
    assert time.perf_counter() - begun < 0.5
