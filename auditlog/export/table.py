"""Owns how rows become a CSV file that a spreadsheet opens without acting on it, and from which every text can be had back exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

BOM: Final = "\ufeff"  # by it a spreadsheet knows UTF-8
# A spreadsheet takes a cell that begins like this for a formula, the full-width signs included, and some drop what is blank, invisible or
# a NUL before the sign. Apostrophes before it count: only so it stays known which apostrophe was put there.
_ACTS: Final = re.compile("'*[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202f\u2060\u3000\ufeff]*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_LONE: Final = re.compile("[\ud800-\udfff]")

Value = str | int | Decimal | bool | None | list[str]


def guarded(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if _ACTS.match(text) else text


def unguarded(cell: str) -> str:
    """The text that a cell was written for."""
    return cell[1:] if cell.startswith("'") and _ACTS.match(cell) else cell


def cell(value: Value) -> str:
    """One cell as it stands in the file. Texts are quoted, each and always; numbers are not, and stay numbers."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value.is_finite() else '"' + str(value) + '"'
    text = "; ".join(value) if isinstance(value, list) else value
    text = _LONE.sub("\ufffd", text)  # half a character: UTF-8 has none
    return '"' + guarded(text).replace('"', '""') + '"'


def line(values: Sequence[Value]) -> str:
    """One record, as RFC 4180 has it."""
    return ",".join(map(cell, values)) + "\r\n"
