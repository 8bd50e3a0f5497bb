"""Owns the checks of how text is prepared for fonts: nothing that has no glyph reaches the typesetter, and nothing else is changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.web.dossier import glyphs


def back(text: str) -> str:
    """What the runs say, put together again: a frame as its code in brackets."""
    lines = []
    for paragraph in glyphs.paragraphs(text):
        lines.append("".join(run if isinstance(run, str) else f"[{run[0]}]" if isinstance(run, list) else "" for run in paragraph["runs"]))
    return "\n".join(lines)


def test_every_family_that_is_named_has_a_file() -> None:
    wanted = {name for language in ("", *glyphs.HAN) for name in glyphs.families(language, mono=True)}
    assert wanted <= set(glyphs.coverage())


@pytest.mark.parametrize(
    "text",
    [
        "Grüezi, naïve: “quoted” — 400.00 €, ≤ ≥ → ✓ ─│┌",
        "Счёт Ελλάδα",
        "汉字 漢字 ひらがな 한국어",
        "مرحبا بالعالم שלום",
        "हिन्दी ภาษาไทย தமிழ்",
        "😀 👍🏽 ❤️",
        "#panic() *bold* $x$ @ref <label> \\ // comment `raw`",
        "café with a combining accent",
        "two\n\nlines",
    ],
)
def test_what_the_fonts_have_stays_as_it_is(text: str) -> None:
    assert back(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a[U+202E]b"),
        ("nul\x00", "nul[U+0000]"),
        ("\ue000", "[U+E000]"),  # private use: every font has another picture for it
        ("old 𓀀 writing", "old [U+13000] writing"),
        ("tab\tbed", "tab    bed"),
        ("\ud800", "[U+D800]"),
        ("ก\u0915\u0301", "ก\u0915[U+0301]"),  # no one font has this letter with this mark
        ("a\u200db", "a[U+200D]b"),
    ],
)
def test_what_hides_and_what_no_font_has_is_spelled_out(text: str, shown: str) -> None:
    assert back(text) == shown


def test_a_long_word_may_break_and_says_the_same() -> None:
    (paragraph,) = glyphs.paragraphs("x" * 100)
    assert paragraph["runs"].count(0) >= 10 and back("x" * 100) == "x" * 100


@pytest.mark.parametrize("text", ["x" * 9_000, "many words " * 900, "مرحبا" * 2_000, "e\u0301" * 6_000, "\u202e" * 9_000])
def test_a_text_too_long_for_one_paragraph_is_several_that_say_the_same(text: str) -> None:
    made = glyphs.paragraphs(text)
    assert len(made) > 1 and back(text).replace("\n", "").replace("[U+202E]", "\u202e") == text
    assert all(
        len("".join(run if isinstance(run, str) else "x" if isinstance(run, list) else "" for run in p["runs"])) < 5_000 for p in made
    )


def test_direction_and_language_are_those_of_the_first_letters() -> None:
    first, second, third = glyphs.paragraphs("hello\nשלום abc\nかな漢字")
    assert "rtl" not in first and second["rtl"] is True and third["lang"] == "ja"


@given(st.text(max_size=60))
def test_nothing_is_lost_and_nothing_without_a_glyph_is_left(text: str) -> None:
    known = frozenset().union(*glyphs.coverage().values())
    said = []
    for segment in glyphs.spelled(text):
        said.append(chr(int(segment.badge[2:], 16)) if segment.badge else segment.text)
        assert all(c == "\n" or ord(c) in known or "\ufe00" <= c <= "\ufe0f" for c in segment.text)
    assert "".join(said) == text.replace("\t", "    ").replace("\r\n", "\n")
