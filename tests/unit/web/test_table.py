"""Owns the checks of CSV: no cell acts in a spreadsheet, whatever was stored, and every text can be had back exactly."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auditlog.export import table
from tests.browser import hostile

ACTING = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
DROPPED = "".join(map(chr, (*range(0x21), *range(0x7F, 0xA1), *range(0x200B, 0x2010), *range(0x2028, 0x2030), 0x2060, 0x3000, 0xFEFF)))
TEXTS = st.one_of(
    st.text(), st.builds("".join, st.lists(st.sampled_from([*ACTING, "'", '"', ",", ";", "\n", "a", "\0", " ", "\u200b"]), max_size=8))
)


def read(written: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(written, newline=""), strict=True))


@given(st.lists(TEXTS, min_size=1, max_size=6))
@example(list(hostile.TEXTS.values()))
def test_every_text_comes_back_exactly_and_none_of_them_acts(texts: list[str]) -> None:
    (cells,) = read(table.line(texts))
    assert [table.unguarded(cell) for cell in cells] == texts
    assert not any(cell.startswith(ACTING) for cell in cells)


@given(TEXTS)
def test_only_what_would_act_is_changed(text: str) -> None:
    bare = text.lstrip("'")
    behind = range(len(bare) - len(bare.lstrip(DROPPED)) + 1)
    if not any(bare.startswith(ACTING, n) for n in behind):
        assert table.guarded(text) == text
    else:
        assert table.guarded(text) == "'" + text


@pytest.mark.parametrize("before", [" ", "\0", "\u200b", "\ufeff", "\u00a0", "\x0b", "\u202e"])
def test_what_a_program_may_drop_before_a_sign_hides_no_formula(before: str) -> None:
    assert table.guarded(f"{before}=1+1") == f"'{before}=1+1"
    assert table.guarded(f"{before}done = 1") == f"{before}done = 1"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**18), max_value=10**18), st.integers())
def test_numbers_stay_numbers(amount: Decimal, count: int) -> None:
    written = table.line([amount, count, None, True, False])
    assert '"' not in written and "E" not in written
    (cells,) = read(written)
    assert Decimal(cells[0]) == amount and int(cells[1]) == count and cells[2:] == ["", "yes", "no"]


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), max_size=5))
def test_rows_stay_rows_whatever_line_ends_are_in_them(rows: list[list[str]]) -> None:
    assert [[table.unguarded(cell) for cell in row] for row in read("".join(map(table.line, rows)))] == rows


@pytest.mark.parametrize("text", ["half \ud83d", "\udfff"])
def test_half_a_character_is_replaced_because_no_file_can_hold_it(text: str) -> None:
    assert "\ufffd" in table.cell(text).encode("utf-8").decode()


def test_several_values_share_a_cell() -> None:
    assert read(table.line([["=a", "b;c"], []])) == [["'=a; b;c", ""]]
