"""Owns what frameworks write once more in other words: a tool's answer with something around it, several answers as one text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from auditlog.normalise import notation
from auditlog.normalise.values import structure
from auditlog.reconstruct.keys import canonical, flat
from auditlog.reconstruct.step import Step

CLOSELY = 200  # results without calls that are compared with every step, in every notation
SHORTEST = 8  # characters of an answer that are not found inside of another by chance


def decorated(shown: Any, returned: Any) -> bool:
    """What the model was shown holds what the tool returned, and something that a framework wrote around it, or in another notation."""
    if not isinstance(shown, str):
        return False
    if isinstance(returned, str) and len(returned) > 1 and len(shown) > len(returned) and returned in shown:
        return True
    written = _written(shown)
    meant = structure(returned) if written is not None and isinstance(returned, str) else returned
    return written is not None and isinstance(meant, dict | list) and bool(meant) and canonical(meant) == written


@lru_cache(maxsize=8)
def _written(shown: str) -> bytes | None:
    """The value in Python's notation behind a framework's words. Read once: the same answer is compared with every step that has one."""
    if structure(shown) is not None:
        return None
    begin = min((i for i in map(shown.find, "{[") if i >= 0), default=-1)
    found = notation.value(shown[begin:]) if begin >= 0 else None
    return None if found is None else canonical(found)


def _told_already(result: Any, step: Step) -> bool:
    """Whether a step shows this answer, or the error that a framework told the model of as if a tool had answered."""
    if step.tool is None:
        return step.kind == "error" and isinstance(result, str) and len(step.text) >= SHORTEST and flat(step.text) in flat(result)
    if not step.tool.returned:
        return False
    known = step.tool.result
    return bool(known == result) or (decorated(result, known) and (not isinstance(known, str) or len(known) >= SHORTEST))


class Answers:
    """What steps show as answered, for results without calls; beyond the first few of these only what is equal is the same."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.looked_for = 0
        self.known: set[bytes] | None = None

    def knows(self, result: Any) -> bool:
        """Whether a step tells of it; if not, the caller adds one that does."""
        self.looked_for += 1
        if self.looked_for <= CLOSELY:
            return any(_told_already(result, step) for step in self.steps)
        if self.known is None:
            self.known = {canonical(step.tool.result) for step in self.steps if step.tool is not None}
        key, before = canonical(result), len(self.known)
        self.known.add(key)
        return len(self.known) == before


class Said:
    """The answers of models in their order, to tell whether a text is several of them one after the other: a stream's whole."""

    def __init__(self, steps: Iterable[Step]) -> None:
        found = sorted((s for s in steps if s.kind == "assistant_message" and s.call is not None), key=lambda s: s.place)
        self.times, self.texts = [s.place[0] for s in found], [flat(s.text) for s in found]

    def joined(self, text: str, start: int, end: int) -> bool:
        """Whether a text, without its blanks, is made of answers that were given between these times."""
        rest, pieces = text, 0
        for said in self.texts[bisect_left(self.times, start) : bisect_right(self.times, end)]:
            if said and rest.startswith(said):
                rest, pieces = rest[len(said) :], pieces + 1
        return not rest and pieces > 1
