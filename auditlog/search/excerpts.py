"""Owns excerpts: what was said around the words that a search asks for, in the original's own characters, each with its step.

They are read from the texts beside the index and compared by the same folding, so that what is marked is what was found. Read are the
sessions of one page alone, and of each the first row of its index that answers the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from django.db import connection

from auditlog.derive import said
from auditlog.derive.words import Mapped, Sought, fold, joins, mapped
from auditlog.search import wording
from auditlog.search.scope import Scope

MOST: Final = 3  # of one session
AROUND: Final = 90  # characters on each side of what was found
LONGEST: Final = 300  # characters of one thing that was found
_SEEN: Final = 20  # passages among which those are chosen that show most of what was asked
_PIECE: Final = 4_000  # characters of a long text that are looked at together
_AGAIN: Final = 400  # of them that the next piece begins with
_AT_WORD: Final = 15  # characters that an excerpt gives up to begin and end between words

_ROWS: Final = """
    SELECT asked.key, found.texts FROM unnest(%(keys)s::text[]) AS asked (key) CROSS JOIN LATERAL (
      SELECT texts FROM search_text t
      WHERE t.session_key = asked.key AND t.edition = %(edition)s AND t.project_id = %(project_id)s AND t.tsv @@ %(query)s::tsquery
      ORDER BY t.n LIMIT 1) AS found
    WHERE found.texts IS NOT NULL"""


class Piece(NamedTuple):
    """A stretch of the original; `hit`: it is what was asked for."""

    text: str
    hit: bool


class Excerpt(NamedTuple):
    """`before` and `after`: the text goes on there."""

    step: int
    kind: str
    pieces: list[Piece]
    before: bool
    after: bool


def excerpts(scope: Scope, keys: Sequence[str], question: str) -> dict[str, list[Excerpt]]:
    """At most MOST of each session, in the order of its steps; none where words are not what it was found by. One query for a page."""
    asked = wording.read(question)
    if asked is None or not asked.phrases or not keys:
        return {}
    sought = [Sought(phrase) for phrase in asked.phrases]
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"keys": list(keys), "edition": scope.edition, "project_id": scope.project_id, "query": asked.query}
        cursor.execute(_ROWS, values)
        return {key: chosen(said.texts(texts), sought) for key, texts in cursor.fetchall()}


class _Passage(NamedTuple):
    """Where one may be taken from: a hit in a folded text, and which of what was asked stands near it."""

    place: int
    said: tuple[int, str, str, bool, bool]
    span: tuple[int, int]
    shows: frozenset[int]


def chosen(texts: list[tuple[int, str, str, bool, bool]], sought: Sequence[Sought]) -> list[Excerpt]:
    """Those that show most of what was asked, then the first; one of each step as long as there are others."""
    passages = _passages(texts, sought)
    taken: list[_Passage] = []
    shown: set[int] = set()
    steps: set[int] = set()
    while passages and len(taken) < MOST:
        best = max(passages, key=lambda one: (len(one.shows - shown), one.said[0] not in steps, len(one.shows), -one.place))
        if taken and not best.shows - shown and best.said[0] in steps:
            break
        passages.remove(best)
        taken.append(best)
        shown |= best.shows
        steps.add(best.said[0])
    return [_excerpt(one, sought) for one in sorted(taken)]


def _passages(texts: list[tuple[int, str, str, bool, bool]], sought: Sequence[Sought]) -> list[_Passage]:
    found: list[_Passage] = []
    for said_here in (piece for text in texts for piece in _near(*text)):
        folded = fold(said_here[2])
        first = {n: span for n, one in enumerate(sought) if (span := one.span(folded)) is not None}
        # Each of a question's words is looked for around these, and it may have hundreds.
        for n, (start, end) in islice(first.items(), _SEEN):
            near = {m for m in first if sought[m].span(folded, max(0, start - AROUND), end + AROUND)}
            found.append(_Passage(len(found), said_here, (start, end), frozenset((n, *near))))
        if len(found) >= _SEEN:
            break
    return found


def _excerpt(passage: _Passage, sought: Sequence[Sought]) -> Excerpt:
    step, kind, text, before, behind = passage.said
    whole = mapped(text)
    start, end = _window(text, *whole.original(*passage.span))
    return Excerpt(step, kind, _pieces(text, _hits(whole, sought, start, end), start, end), before or start > 0, behind or end < len(text))


def _near(step: int, kind: str, text: str, before: bool, behind: bool) -> Iterator[tuple[int, str, str, bool, bool]]:
    """A long text in pieces that overlap: the way back from a folded text is made for the piece that is shown, not for all of it."""
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        yield step, kind, text[start:end], before or start > 0, True
        space = text.find(" ", end - _AGAIN, end)
        start = space + 1 if space > 0 else end - _AGAIN
    yield step, kind, text[start:], before or start > 0, behind


def _window(text: str, start: int, end: int) -> tuple[int, int]:
    """What is shown around a hit: whole words where the script has any, and no mark without its letter."""
    end = min(end, start + LONGEST)
    first, last = max(0, start - AROUND), min(len(text), end + AROUND)
    if first:
        space = re.search(r"\s", text[first : min(first + _AT_WORD, start)])
        first += space.end() if space else 0
        while first < start and joins(text[first]):
            first += 1
    if last < len(text):
        rest = text[max(last - _AT_WORD, end) : last]
        last -= len(rest) - max(map(rest.rfind, " \n\t")) if any(one in rest for one in " \n\t") else 0
        while last < len(text) and joins(text[last]):
            last += 1
    return first, last


def _hits(whole: Mapped, sought: Sequence[Sought], start: int, end: int) -> list[tuple[int, int]]:
    """What of the question stands between these characters of the original, cut to them."""
    spans: list[tuple[int, int]] = []
    first, last = whole.between(start, end)
    for one in sought:
        for found in one.spans(whole.folded, first, last + LONGEST):
            if found[0] >= last:
                break
            a, b = whole.original(*found)
            spans.append((max(a, start), min(b, end)))
    return sorted(span for span in spans if span[0] < span[1])


def _pieces(text: str, spans: list[tuple[int, int]], start: int, end: int) -> list[Piece]:
    found: list[Piece] = []
    at = start
    for first, last in spans:
        first, last = max(first, at), max(last, at)  # two of what was asked may overlap
        if first > at:
            found.append(Piece(text[at:first], False))
        if last > first:
            if found and found[-1].hit and first == at:
                first -= len(found.pop().text)
            found.append(Piece(text[first:last], True))
        at = last
    return [*found, *([Piece(text[at:end], False)] if at < end else [])]


def as_json(found: Sequence[Excerpt]) -> list[dict[str, Any]]:
    return [
        {
            "step": one.step,
            "kind": one.kind,
            "parts": [{"text": piece.text, "hit": piece.hit} for piece in one.pieces],
            "more_before": one.before,
            "more_after": one.after,
        }
        for one in found
    ]
