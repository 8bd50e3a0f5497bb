"""Owns passages: the place in a step where a value stands, and what an instruction shares with a call, by words alone.

Nothing here says why anything was done. Words are compared without case and accents; which rule was applied no text can tell.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

from auditlog.reconstruct.origins import NUMBER, TEXT_LIMIT, number_of
from auditlog.reconstruct.scalars import scalars

AROUND: Final = 90  # characters on each side of what was found
SHORTEST: Final = 4  # characters of a word that counts
_WORD: Final = re.compile(r"\w+(?:[.,'’-]\w+)*")
_PARTS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+(?:\.\d+)?|\w+")
# After a line, and after a sentence: a mark behind a letter and another, so that "3. a. Never" is no three passages.
_BREAK: Final = re.compile(r"\n+|(?<=[^\W\d][^\W\d][.!?])\s+|(?<=[)\]\"'”’][.!?])\s+|(?<=[。！？])\s*")
# Words of English that say nothing of what a call is about. Other languages: what most passages have is left out, too.
_EMPTY: Final = frozenset(
    _WORD.findall(
        "about after also before been being both cannot could does each else ever every from have here into just like made make "
        "more most must need never none only other over same should some such than that their them then there these they this "
        "those under unless until upon used uses very were what when where which while will with without would your"
    )
)
_COMMON: Final = 0.5  # share of the passages from which on a word tells none of them apart
_FEW: Final = 5  # passages below which that means nothing


class Passage(NamedTuple):
    """A value where it stands: `pointer` into the step's result or arguments, "" in a text; cut on either side where that is said."""

    pointer: str
    before: str
    found: str
    after: str


def where(step: dict[str, Any], value: Any) -> Passage | None:
    """The first place in a step's text, result, arguments or detail in which a scalar stands, as origins are found."""
    number = (
        number_of(value) if isinstance(value, str) else value if isinstance(value, int | float) and not isinstance(value, bool) else None
    )
    words = value.split() if isinstance(value, str) else []
    pattern = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE) if words else None
    for pointer, scalar in _said(step):
        if isinstance(scalar, bool):
            continue
        if not isinstance(scalar, str):
            if number is not None and float(scalar) == float(number):
                return Passage(pointer, "", str(scalar), "")
            continue
        text = scalar[:TEXT_LIMIT]
        match = pattern.search(text) if pattern is not None else None
        if match is None and number is not None:
            match = next((m for m in NUMBER.finditer(text) if number_of(m[0]) == float(number)), None)
        if match is not None:
            return Passage(pointer, *cut(text, match.start(), match.end()))
    return None


def _said(step: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if step.get("text"):
        yield "", step["text"]
    tool = step.get("tool") or {}
    for value in (tool.get("result"), tool.get("arguments"), step.get("detail"), tool.get("error")):
        if value is not None:
            yield from scalars(value)


def cut(text: str, start: int, end: int) -> tuple[str, str, str]:
    """What stands there with AROUND characters on each side; … where there is more."""
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    return ("…" if start > AROUND else "") + before, text[start:end], after + ("…" if len(text) > end + AROUND else "")


# -- what an instruction shares with a call ------------------------------------------------------------------------------------


class Piece(NamedTuple):
    text: str
    shared: bool  # the call has this word, too


class Paragraph(NamedTuple):
    """One passage of an instruction, verbatim, and the white space behind it; `close`: it shares enough to be looked at first."""

    start: int  # characters of the instruction before it
    end: int
    pieces: list[Piece]
    space: str
    close: bool


def folded(word: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c)).casefold()
    return plain[:-1] if len(plain) > SHORTEST and plain.endswith("s") else plain  # credit, credits


def words_of_call(tool: dict[str, Any]) -> set[str]:
    """The words of a call: of its name, its arguments' names and their values."""
    said = [tool["name"]]
    for pointer, scalar in scalars(tool.get("arguments") if tool.get("arguments") is not None else tool.get("arguments_raw")):
        said.append(pointer.rsplit("/", 1)[-1])
        if not isinstance(scalar, bool):
            said.append(str(scalar))
    return set(_counting(part for text in said for word in _WORD.findall(text) for part in (word, *_PARTS.findall(word.replace("_", " ")))))


def _counting(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        plain = folded(word)
        if word[:1].isdigit() or (len(plain) >= SHORTEST and plain not in _EMPTY):
            yield plain


def paragraphs(instruction: str, words: set[str]) -> list[Paragraph]:
    """An instruction whole and verbatim, passage by passage, with the words that it shares with a call."""
    ends = [0, *(m.end() for m in _BREAK.finditer(instruction)), len(instruction)]
    places = [(a, b) for a, b in pairwise(ends) if b > a]
    texts = [instruction[a:b] for a, b in places]
    has = [set(_counting(_WORD.findall(text))) & words for text in texts]
    common = {w for w in words if len(texts) >= _FEW and sum(w in h for h in has) > len(texts) * _COMMON}
    found = []
    for (start, end), text, words_here in zip(places, texts, has, strict=True):
        said, shared = text.rstrip(), words_here - common
        found.append(Paragraph(start, end, _pieces(said, shared), text[len(said) :], len(shared) > 1))
    return found


def _pieces(text: str, shared: set[str]) -> list[Piece]:
    found, end = [], 0
    for match in _WORD.finditer(text):
        if folded(match[0]) in shared:
            found += [Piece(text[end : match.start()], False), Piece(match[0], True)]
            end = match.end()
    return [piece for piece in (*found, Piece(text[end:], False)) if piece.text]
