"""Owns what of a timeline is searched by words: its texts, each with the step that says it, and the parts that they are indexed in.

System prompts and tool schemas are left out: they stand in every session and would find all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import zstandard

from auditlog.derive.words import LONGEST, fold, indexed, lexeme, units
from auditlog.reconstruct.scalars import scalars

MOST: Final = 4 * 1024 * 1024  # characters of one session
BETWEEN: Final = " · "  # the scalars of one value, as an excerpt shows them
_SLICE: Final = 2_000  # characters that are indexed at once; a part ends behind one
_AGAIN: Final = 200  # characters that the next part, or what is cut inside of a stretch, begins with once more: phrases stand across
_POSITIONS: Final = 13_000  # of one part; those of a tsvector end at 16,383, and one slice more must fit
_CHARACTERS: Final = 96 * 1024  # of lexemes of one part, far below the megabyte that a tsvector may have
_WRITTEN: Final = 256 * 1024  # characters of the texts of one part: an excerpt reads them all, and an endless word is one lexeme
_OFTEN: Final = 200  # a pair of characters this often in a part: a lexeme keeps 255 positions, and a stretch is found by them
_HIGHEST, _KEPT = 16_383, 255
_BREAK: Final = re.compile(r"[^\w\u0300-\u036f\u0900-\u1fff\u3099\u309a](?=\w)")  # between words, whatever the script


class Said(NamedTuple):
    """One text of a step, verbatim."""

    step: int
    kind: str
    text: str


class Part(NamedTuple):
    """One row of the index: `words` in the notation of tsvector, and the texts they are of, compressed, for excerpts."""

    words: str
    texts: bytes

    @property
    def size(self) -> int:
        return len(self.words) + len(self.texts)


def said(timeline: dict[str, Any]) -> Iterator[Said]:
    """Every text of a timeline's steps, in order; the scalars of one value are one text."""
    for step in timeline["steps"]:
        values = [step.get("text"), step.get("detail")]
        tool = step.get("tool")
        if tool is not None:
            arguments = tool["arguments"] if tool.get("arguments") is not None else tool.get("arguments_raw")
            values += [tool["name"], arguments, tool.get("executed_arguments"), tool.get("result"), tool.get("error")]
        for value in values:
            if text := BETWEEN.join(_texts(value)):
                yield Said(step["n"], step["kind"], text)


def _texts(value: Any) -> Iterator[str]:
    """Decoded: in JSON text a word behind a line break would be another word ("\\nhello")."""
    for _, scalar in scalars(value):
        if not isinstance(scalar, bool):
            yield str(scalar) if isinstance(scalar, str | float) else f"{scalar:d}" if abs(scalar) < 10**64 else ""


class _Building:
    """The part that is being filled. A word's entry is text from the start: a thousand lists of places are dear."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}  # lexeme -> 'lexeme':1,7,… in the notation of tsvector
        self.at = 1
        self.characters = 0
        self.written = 0
        self.often = False
        self.texts: list[list[Any]] = []  # step, kind, text, whether more stands before it, and behind it

    def add(self, text: str) -> None:
        folded, entries, before = fold(text), self.entries, len(self.entries)
        self.written += len(text)
        if folded.isascii():  # most texts: a word takes one position, and is no stretch
            words = folded.split()
            if len(max(words, key=len, default="")) > LONGEST:
                words = [lexeme(word) for word in words]
            for at, word in enumerate(words, self.at):
                entries[word] = f"{entries[word]},{at}" if word in entries else f"'{word}':{at}"
            self.at += len(words)
        else:
            for unit in units(folded):
                for found, place in indexed(unit):
                    known = entries[found] = f"{entries[found]},{self.at + place}" if found in entries else f"'{found}':{self.at + place}"
                    self.often |= unit.stretch and len(found) > 1 and known.count(",") >= _OFTEN
                self.at += unit.width
        self.characters += sum(map(len, islice(reversed(entries), len(entries) - before)))

    @property
    def full(self) -> bool:
        return self.at > _POSITIONS or self.characters > _CHARACTERS or self.written > _WRITTEN or self.often

    def part(self) -> Part:
        longest = _KEPT if self.at <= _HIGHEST else 0  # a shorter entry has fewer places than are kept
        words = [entry if len(entry) < longest else _kept(entry) for entry in self.entries.values()]
        return Part(" ".join(words), zstandard.compress(json.dumps(self.texts).encode("ascii")))


def _kept(entry: str) -> str:
    """As many positions, and as high, as a tsvector keeps: the highest stands for all beyond it."""
    word, _, listed = entry.rpartition(":")
    places = list(map(int, listed.split(",")[:_KEPT]))
    if places[-1] >= _HIGHEST:
        places = [*(at for at in places if at < _HIGHEST), _HIGHEST]
    return f"{word}:{','.join(map(str, places))}"


def parts(timeline: dict[str, Any], most: int = MOST) -> tuple[list[Part], bool]:
    """(the rows of a session, whether there was more than is indexed)."""
    made: list[Part] = []
    building = _Building()
    left = most
    for step, kind, text in said(timeline):
        taken = text[:left]
        left -= len(text)
        for start, end, joined in _slices(taken):
            if building.full:
                made.append(building.part())
                building = _Building()
                start, joined = _before(taken, start), False
            building.add(taken[start:end])
            if joined and building.texts:
                building.texts[-1][2:] = [building.texts[-1][2] + taken[start:end], building.texts[-1][3], end < len(text)]
            else:
                building.texts.append([step, kind, taken[start:end], start > 0, end < len(text)])
        building.at += 1  # a phrase stands in one text
        if left <= 0:
            break
    return [*made, *([building.part()] if building.entries else [])], left < 0


def _slices(text: str) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether it goes on where the one before ended)."""
    start, joined = 0, False
    while len(text) - start > _SLICE:
        end = max((found.end() for found in _BREAK.finditer(text, start + _SLICE // 2, start + _SLICE)), default=0)
        yield start, end or start + _SLICE, joined
        start, joined = (end, True) if end else (start + _SLICE - _AGAIN, False)
    yield start, len(text), joined


def _before(text: str, start: int) -> int:
    """Where the text is taken up again in a part of its own."""
    found = _BREAK.search(text, max(0, start - _AGAIN), start)
    return found.end() if found else start


def texts(part: bytes) -> list[tuple[int, str, str, bool, bool]]:
    """(step, kind, text, more before it, more behind it) of a stored part."""
    return [(n, kind, text, before, behind) for n, kind, text, before, behind in json.loads(zstandard.decompress(bytes(part)))]
