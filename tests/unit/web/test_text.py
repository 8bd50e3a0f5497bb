"""Owns the checks that stored text is shown as it is, and that nothing in it can hide or reorder what a reader sees."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.web import jsontext
from auditlog.web.text import plain, segments

HIDING = [
    *"\x00\x07\x08\x0b\r\x1b\x7f\x85\x9b\u00ad\u061c\u200b\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
    *"\u2060\u2066\u2067\u2068\u2069\ufeff\U000e0041\U000e007f\U000e0100\ud800\udfff\ufffe",
]


@pytest.mark.parametrize("character", HIDING, ids=lambda c: f"U+{ord(c):04X}")
def test_a_character_that_hides_or_reorders_becomes_a_badge(character: str) -> None:
    before, badge, after = segments(f"pay{character}400")
    assert (before.text, after.text) == ("pay", "400")
    assert badge.badge and badge.text == "" and f"U+{ord(character):04X}" in badge.title
    assert character not in badge.badge + badge.title


@pytest.mark.parametrize(
    "text", ["", "plain", "two\nlines\tand a tab", "日本語 Ünïcödé شكرًا 🔎", "<script>alert(1)</script>", "{{ x }} {% y %}"]
)
def test_ordinary_text_of_any_script_is_left_alone(text: str) -> None:
    assert [s.text for s in segments(text)] == [text] and not any(s.badge for s in segments(text))


@given(st.text(alphabet=st.characters()))
def test_no_text_loses_a_character_and_none_that_hides_is_printed(text: str) -> None:
    found = segments(text)
    text = text.replace("\r\n", "\n")
    assert sum(1 if s.badge else len(s.text) for s in found) == len(text)
    assert not any(c in s.text for s in found for c in HIDING)


def test_one_line_for_places_without_markup() -> None:
    assert plain("a\n\n b\u202ec") == "a bU+202Ec"


def test_recorded_json_keeps_numbers_and_repeated_keys_as_they_were_sent() -> None:
    text = '{"amount": 400.0, "amount": 4e2, "n": 12345678901234567890.10, "t": "\\u91cd\\u8907", "e": {}, "l": [1, 2]}'
    shown = jsontext.indented(jsontext.structure(text))
    lines = ['"amount": 400.0,', '"amount": 4e2,', '"n": 12345678901234567890.10,', '"t": "重複",', '"e": {},', '"l": [1, 2]']
    assert shown.splitlines() == ["{", *("  " + line for line in lines), "}"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=12
)


@given(JSON)
def test_indented_json_means_what_was_recorded(value: object) -> None:
    found = jsontext.structure(json.dumps(value)) if isinstance(value, dict | list) else jsontext.held(value)
    assert json.loads(jsontext.indented(found)) == value


@pytest.mark.parametrize("text", ["{broken", "[1,", "{'a': 1}", "[" * 100_000])
def test_what_is_no_json_is_shown_as_it_is(text: str) -> None:
    assert jsontext.structure(text) == text
