"""Owns how words are compared in full text: what two spellings have in common, and the units that a text is indexed and asked by.

Done here and not by PostgreSQL, the same for what is indexed and what is asked: `unaccent` is an extension, in the C locale lower() does
nothing to é and “ is a letter, and its parser takes "-1182" for a number, an address for one word and a Japanese sentence for another.
"""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, pairwise
from typing import Final, NamedTuple

# Marks that writers may leave out: accents (not every combining mark: in Indic scripts those are vowels), niqqud and cantillation,
# tashkeel and the hamza above a letter, variation selectors; and letters that are none: tatweel, the fillers of Hangul and of Khmer.
_LEFT_OUT: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc"
    "\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0730-\u074a\u08d3-\u08ff\u115f\u1160\u17b4\u17b5\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\u3164\ufe00-\ufe0f\ufe20-\ufe2f\uffa0\U000e0100-\U000e01ef]"
)
# Letters that NFKD does not take apart but that are asked for by their plain form: ı, ł, ø, đ, æ, œ, ð, þ; Persian yeh and keheh.
_PLAIN: Final = str.maketrans({
    "ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t",
    "\u0649": "\u064a", "\u06cc": "\u064a", "\u06a9": "\u0643",
})  # fmt: skip
# Scripts written without spaces: Thai and Lao, Myanmar, Hangul (whose particles stick to the word), Khmer, Han and kana.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\ua9e0-\ua9ff\uaa60-\uaa7f\uac00-\ud7ff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_UNIT: Final = re.compile(f"(?P<stretch>[{_UNSPACED}]+)|[^{_UNSPACED}]+")
_FOREIGN: Final = re.compile(r"([^\x00-\x7f]{1,20})")
_RUN: Final = re.compile(r"(?P<ascii>[\x00-\x7f]+(?![^\x00-\x7f]))|[\x00-\x7f]?[^\x00-\x7f]+")  # a letter goes with the marks behind it
LONGEST: Final = 100  # characters of a word that stands in the index as it is


class _Folding(dict[int, str]):
    """What becomes of a character of a text in NFKD, made when it is met first: nothing, a space, or one or two letters."""

    def __missing__(self, code: int) -> str:
        found = self[code] = _folded(chr(code))
        return found


def _folded(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cf" or _LEFT_OUT.match(character):
        return ""  # what is invisible does not part words
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if kind[0] == "M":
        return character
    if kind[0] not in "LN":
        return " "
    return _LEFT_OUT.sub("", unicodedata.normalize("NFKD", character.casefold())).translate(_PLAIN)


_FOLDING: Final = _Folding()
_ASCII: Final = {code: _folded(chr(code)) for code in range(128)}


def fold(text: str) -> str:
    """A text as words are compared: letters and digits without case and marks, everything else a space."""
    if text.isascii():
        return text.translate(_ASCII)
    # A text with some letters that are not ASCII: those are folded, each with the one before it, and the rest all at once.
    pieces = _FOREIGN.split(text)
    for place in range(1, len(pieces), 2):
        before = pieces[place - 1]
        pieces[place - 1], pieces[place] = before[:-1], _cluster(before[-1:] + pieces[place])
        if not pieces[place].isascii():
            return _fold(text)
    return "".join(pieces).translate(_ASCII)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", text).translate(_FOLDING))


@lru_cache(maxsize=8192)
def _cluster(text: str) -> str:
    return _fold(text)


# -- what is indexed, and asked ------------------------------------------------------------------------------------------------


class Unit(NamedTuple):
    """A word, or a stretch of a script without spaces: `width` is how many positions of the index it takes."""

    text: str
    stretch: bool

    @property
    def width(self) -> int:
        return len(self.text) if self.stretch else 1


def units(folded: str) -> Iterator[Unit]:
    """What a folded text consists of, in order."""
    for token in folded.split():
        if token.isascii():
            yield Unit(token, False)
        else:
            for found in _UNIT.finditer(token):
                yield Unit(found[0], found["stretch"] is not None)


def lexeme(word: str) -> str:
    """A word as it stands in the index: a very long one by its digest, because a lexeme has an end."""
    return word if len(word) <= LONGEST else "#" + hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=16).hexdigest()


def indexed(unit: Unit) -> Iterator[tuple[str, int]]:
    """(lexeme, position within the unit): of a stretch each character and each pair, so that it is found by any part of it."""
    if not unit.stretch:
        yield lexeme(unit.text), 0
        return
    for place, character in enumerate(unit.text):
        yield character, place
    for place, (first, second) in enumerate(pairwise(unit.text)):
        yield first + second, place


def asked(phrase: list[Unit]) -> str:
    """A phrase in the language of tsquery: its lexemes at their distances. A stretch is asked for by its pairs alone."""
    found: list[str] = []
    start = last = 0
    for unit in phrase:
        whole = len(unit.text) == 1 or not unit.stretch
        for text, place in [(lexeme(unit.text), 0)] if whole else ((a + b, n) for n, (a, b) in enumerate(pairwise(unit.text))):
            found += [f"<{start + place - last}>"] * bool(found) + [f"'{text}'"]
            last = start + place
        start += unit.width
    return f"({' '.join(found)})"


# -- where it stands in the text as it was written -----------------------------------------------------------------------------


class Sought:
    """A phrase as it is looked for in a folded text: finds there what `asked` finds in the index.

    That no letter stands on either side is asked of what was found. In the expression itself it took 2.5 ms to compile, for every word:
    the set of all letters of scripts that are written without spaces.
    """

    def __init__(self, phrase: list[Unit]) -> None:
        between = (" +" if not (one.stretch or other.stretch) else " *" for one, other in pairwise(phrase))
        self._letters = re.compile("".join(chain.from_iterable(zip((re.escape(one.text) for one in phrase), [*between, ""], strict=True))))
        self._begins, self._ends = not phrase[0].stretch, not phrase[-1].stretch

    def span(self, folded: str, start: int = 0, end: int = sys.maxsize) -> tuple[int, int] | None:
        """Where it stands first between these two places, whole."""
        while (found := self._letters.search(folded, start, end)) is not None:
            first, last = found.span()
            inside = (self._begins and first and _of_word(folded[first - 1])) or (
                self._ends and last < len(folded) and _of_word(folded[last])
            )
            if not inside:
                return first, last
            start = first + 1
        return None

    def spans(self, folded: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        while (found := self.span(folded, start, end)) is not None:
            yield found
            start = found[1]


def _of_word(character: str) -> bool:
    return character != " " and (character.isascii() or _UNIT.match(character)["stretch"] is None)  # type: ignore[index]


class Mapped(NamedTuple):
    """A folded text that knows which characters of the original each of its own came from."""

    folded: str
    starts: list[int] | None  # None: one for one
    ends: list[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original that folded to this one, marks included."""
        return (start, end) if self.starts is None else (self.starts[start], self.ends[end - 1])

    def between(self, start: int, end: int) -> tuple[int, int]:
        """What of the folded text came from between these characters of the original."""
        return (start, end) if self.starts is None else (bisect_left(self.starts, start), bisect_right(self.ends, end))


def mapped(text: str) -> Mapped:
    """`fold` with the way back: cut where characters neither join nor change places, each cluster folds to the same alone."""
    if text.isascii():
        return Mapped(fold(text), None, [])
    folded: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for run in _RUN.finditer(text):
        start, end = run.span()
        if run["ascii"]:
            folded.append(fold(run[0]))
            starts += range(start, end)
            ends += range(start + 1, end + 1)
            continue
        borders = [start, *(place for place in range(start + 1, end) if not joins(text[place]))]
        for first, last in pairwise([*borders, end]):
            found = fold(text[first:last])
            folded.append(found)
            starts += [first] * len(found)
            ends += [last] * len(found)
    return Mapped("".join(folded), starts, ends)


@lru_cache(maxsize=8192)
def joins(character: str) -> bool:
    """Whether it may become part of the character before it: marks, vowels and finals of Hangul, and what is left out."""
    first = unicodedata.normalize("NFKD", character)[0]
    return (
        unicodedata.category(first)[0] == "M"
        or "\u1160" <= first <= "\u11ff"
        or not unicodedata.normalize("NFKD", character).translate(_FOLDING)
    )
