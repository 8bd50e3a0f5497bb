"""Owns how tests read the pages for people: their sections, their fenced blocks of code and their tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "docs" / "quickstart.md"
README = ROOT / "README.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """One fenced block. `file`: the name under which the sentence before it says to save it."""

    language: str
    text: str
    file: str | None


def section(page: Path, title: str) -> str:
    """What stands under a heading of the second level."""
    parts = re.split(r"^## (.+)\n", page.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def blocks(text: str) -> list[Block]:
    found = []
    before = 0
    for match in FENCE.finditer(text):
        named = re.findall(r"Save this as `([^`]+)`", text[before : match.start()])
        found.append(Block(match[1], match[2], named[-1] if named and match[1] != "sh" else None))
        before = match.end()
    return found


def prose(text: str) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", text)


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first row is `heading`, without that row and the line under it."""
    (table,) = re.findall(rf"^{re.escape(heading)}\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def code(cell: str) -> list[str]:
    """What a cell sets in code."""
    return re.findall(r"`([^`]+)`", cell)
