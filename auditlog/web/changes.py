"""Owns how two versions of a text are compared on a page: verbatim, word by word, what was taken out and what was put in."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Final, Literal, NamedTuple

_WORDS: Final = re.compile(r"\w+|\s+|[^\w\s]")
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")
MOST: Final = 3_000  # words of the two together that are compared as words; of longer texts whole lines are


class Change(NamedTuple):
    kind: Literal["same", "out", "in"]
    text: str


def changes(old: str, new: str) -> list[Change]:
    """The pieces of both texts in order: `same` and `out` together are the old one, `same` and `in` the new one."""
    found = []
    for same, before, after in _compared(_LINES.findall(old), _LINES.findall(new)):
        if same:
            found.append(Change("same", before))
            continue
        words = _WORDS.findall(before), _WORDS.findall(after)
        if before and after and len(words[0]) + len(words[1]) <= MOST:
            for equal, out, put in _compared(*words):
                found += [Change("same", out)] if equal else [Change("out", out), Change("in", put)]
        else:
            found += [Change("out", before), Change("in", after)]
    return _joined(found)


def _compared(old: list[str], new: list[str]) -> list[tuple[bool, str, str]]:
    matcher = SequenceMatcher(None, old, new, autojunk=len(old) + len(new) > 2 * MOST)
    return [(tag == "equal", "".join(old[a:b]), "".join(new[c:d])) for tag, a, b, c, d in matcher.get_opcodes()]


def _joined(found: list[Change]) -> list[Change]:
    """Without empty pieces; a single space between two changes belongs to them, as a reader sees it."""
    out: list[Change] = []
    for one in found:
        if not one.text:
            continue
        if out and out[-1].kind == one.kind:
            out[-1] = Change(one.kind, out[-1].text + one.text)
        else:
            out.append(one)
    return out
