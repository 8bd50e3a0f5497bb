"""Owns the checks of words: spellings that are one, scripts without spaces, and the way back from a folded text to the original."""

from __future__ import annotations

import random
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.derive import said, words
from auditlog.derive.words import Sought, Unit, fold, indexed, mapped, units
from auditlog.search import wording

SCRIPTS = "aZ é\u0301Ñßıİ1２٣์กำลาແລະខ្មែរမြန်မာ日本語がカ\u3099ﾀﾞー한국어\u1112\u1161\u11abمُحَـمَّدשָׁלוֹםनमस्ते₂½ﷺ\u200d\u00ad\u202e.,-_@’·\n\0\ud800"
texts = st.text(st.one_of(st.sampled_from(SCRIPTS), st.characters(), st.characters(categories=["M", "Lo"])), max_size=40)


def stands_in(text: str, query: str) -> bool:
    """Whether the index of a text answers the question, for a question of one alternative without negations."""
    places: dict[str, set[int]] = {}
    at = 1
    for unit in units(fold(text)):
        for lexeme, place in indexed(unit):
            places.setdefault(lexeme, set()).add(at + place)
        at += unit.width
    asked = wording.read(query)
    assert asked is not None
    return bool(asked.query) and all(_phrase(places, one) for one in re.findall(r"\((.*?)\)", asked.query))


def _phrase(places: dict[str, set[int]], phrase: str) -> bool:
    lexemes, gaps = re.findall(r"'([^']+)'", phrase), [int(gap) for gap in re.findall(r"<(\d+)>", phrase)]
    starts = places.get(lexemes[0], set())
    for lexeme, gap in zip(lexemes[1:], gaps, strict=True):
        starts = {start + gap for start in starts} & places.get(lexeme, set())
    return bool(starts)


FOUND = [
    ("Zoë’s café", ["cafe", "CAFÉ", "cafe\u0301", "zoe", "Zoë's"]),
    ("cafe\u0301", ["café", "cafe"]),
    ("Die Straße war gesperrt", ["strasse", "STRASSE", "straße"]),
    ("ISPARTA, İstanbul, kızı", ["ısparta", "isparta", "istanbul", "kizi"]),
    ("Ｆｕｌｌ １２３", ["full", "123", "ｆｕｌｌ"]),
    ("Łódź, Ørsted, Æsop", ["lodz", "orsted", "aesop"]),
    ("東京都の返金ポリシー", ["返金", "京都の", "金", "東京都の返金ポリシー", "ポリシ", "ﾎﾟﾘｼｰ"]),
    ("고객이 환불을 요청했다", ["고객", "환불", "요청", "불"]),
    ("ลูกค้าขอเงินคืน ๔๐๐ บาท", ["เงิน", "คืน", "ขอเงิน", "400"]),
    ("ຂໍເງິນຄືນ", ["ເງິນ"]),
    ("សូមសងប្រាក់", ["ប្រាក់"]),
    ("ငွေပြန်အမ်း", ["ပြန်"]),
    ("طلب مُحَمَّد اِستِرداد المبـــلغ", ["محمد", "مُحَمَّد", "استرداد", "المبلغ"]),
    ("שָׁלוֹם עולם", ["שלום", "שָׁלוֹם"]),
    ("total 1,234.50 EUR", ["1,234.50", "234.50"]),
    ("write to ana.b@example.com", ["ana.b@example.com", "example.com", "ana"]),
    ("see INV-1182 and cr_55d0", ["INV-1182", "inv", "1182", "cr_55d0", "55D0"]),
    ("re\u00adfund\u200bed", ["refunded"]),
    ("注文INV-1182を返金", ["INV-1182", "注文INV", "1182を", "注文"]),
    ("say “rule 3b” now", ['"rule 3b"', "“rule 3b”"]),
]
MISSED = [
    ("Zoë’s café", ["caf", "zo"]),
    ("東京都の返金", ["返却", "都東", "金の"]),
    ("日本と本語", ["日本語"]),
    ("see INV-1182", ["INV-118", "1182 inv x", '"1182 inv"']),
    ("1,234.50", ["1.234,51"]),
    ("anything", ["", "-", '""', "!& |('", "€"]),
]


@pytest.mark.parametrize(("text", "query"), [(text, query) for text, queries in FOUND for query in queries])
def test_a_word_is_found_however_it_is_spelled(text: str, query: str) -> None:
    assert stands_in(text, query)


@pytest.mark.parametrize(("text", "query"), [(text, query) for text, queries in MISSED for query in queries])
def test_what_is_not_there_is_not_found(text: str, query: str) -> None:
    assert not stands_in(text, query)


@given(texts)
def test_every_form_of_unicode_folds_alike_and_folding_twice_changes_nothing(text: str) -> None:
    folded = fold(text)
    assert all(fold(unicodedata.normalize(form, text)) == folded for form in ("NFC", "NFD", "NFKC", "NFKD"))
    assert fold(folded) == folded == words._fold(text)  # the quick way is the same
    assert all(c == " " or c.isalnum() or unicodedata.category(c)[0] == "M" for c in folded)


@given(texts)
def test_the_way_back_leads_to_the_characters_that_folded_to_it(text: str) -> None:
    found = mapped(text)
    assert found.folded == fold(text)
    for word in re.finditer(r"\S+", found.folded):
        start, end = found.original(*word.span())
        assert 0 <= start < end <= len(text) and word[0] in fold(text[start:end])


@given(texts, st.data())
def test_a_phrase_of_a_text_is_found_in_the_index_and_in_the_text(text: str, data: st.DataObject) -> None:
    whole = list(units(fold(text)))
    if not whole:
        return
    first = data.draw(st.integers(0, len(whole) - 1))
    phrase = whole[first : data.draw(st.integers(first + 1, len(whole)))]
    for place in (0, -1):  # a stretch at either end may be asked for in part
        if phrase[place].stretch and (place == 0 or len(phrase) > 1):
            cut = data.draw(st.integers(0, len(phrase[place].text) - 1))
            phrase[place] = Unit(phrase[place].text[cut:] if place == 0 else phrase[place].text[: cut + 1], True)
    query = '"' + " ".join(unit.text for unit in phrase) + '"'
    assert stands_in(text, query)
    assert Sought(phrase).span(fold(text))


def timeline(*texts: str) -> dict[str, Any]:
    return {"steps": [{"n": n, "kind": "user_message", "text": text} for n, text in enumerate(texts)]}


@pytest.mark.parametrize(
    "text",
    [
        " ".join(f"word{n}" for n in range(40_000)),
        "返金" * 4_000 + "東京" + "".join(chr(0x4E00 + n * 7 % 20_000) for n in range(30_000)),
        "".join(chr(random.Random(3).randrange(0x4E00, 0x9000)) for _ in range(5_000)) * 3,
        "x" * 50_000 + " needle",
        "のの" * 10_000,
        "é" * 20_000,
        "ﷺ" * 20_000,
    ],
)
def test_parts_hold_the_whole_text_and_a_passage_at_their_border_is_found(text: str) -> None:
    made, cut = said.parts(timeline(text, "the end"))
    assert not cut and made
    pieces = [piece for part in made for piece in said.texts(part.texts)]
    at = 0
    for step, kind, piece, before, _ in pieces[:-1]:
        place = text.find(piece, max(0, at - said._AGAIN))
        assert (step, kind) == (0, "user_message") and 0 <= place <= at and before is (place > 0)
        at = place + len(piece)
    assert at == len(text) and pieces[-1] == (1, "user_message", "the end", False, False)
    for part in made:
        places = [int(n) for lexeme in part.words.split() for n in lexeme.rsplit(":", 1)[1].split(",")]
        assert max(places) <= 16_383 and len(part.words.encode()) < 900_000


def test_what_is_more_than_a_session_may_have_is_left_out_and_said() -> None:
    made, cut = said.parts(timeline("one two", "three four"), most=9)
    assert cut and "'two':2" in made[0].words and "four" not in made[0].words
    assert said.parts(timeline("one two"), most=7)[1] is False


def test_an_endless_word_ends_its_part_so_that_an_excerpt_reads_no_megabytes() -> None:
    made, cut = said.parts(timeline("a" * 1_000_000 + " the end"))
    assert not cut and max(sum(len(text) for _, _, text, *_ in said.texts(part.texts)) for part in made) < 300_000
    assert "'end'" in made[-1].words


def test_a_question_is_words_phrases_alternatives_and_what_must_be_absent() -> None:
    asked = wording.read('refund "rule 3b" -denied or 返金 -"no more"')
    assert asked is not None
    assert asked.query == "('refund') & ('rule' <1> '3b') & !('denied') | ('返金') & !('no' <1> 'more')"
    assert [[unit.text for unit in phrase] for phrase in asked.phrases] == [["refund"], ["rule", "3b"], ["返金"]]
    assert wording.read("x" * 1_001) is None
