"""Owns what frameworks write once more in other words: a tool's answer with something around it, several answers as one text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from auditlog.normalise import notation
from auditlog.normalise.values import structure
from auditlog.reconstruct.keys import canonical, flat
from auditlog.reconstruct.step import Step

SHORTEST = 8  # characters of an answer that are not found inside of another by chance


def decorated(shown: Any, returned: Any) -> bool:
    """What the model was shown holds what the tool returned, and something that a framework wrote around it, or in another notation."""
    if not isinstance(shown, str):
        return False
    if isinstance(returned, str) and len(returned) > 1 and len(shown) > len(returned) and returned in shown:
        return True
    meant = structure(returned) if isinstance(returned, str) else returned
    if not isinstance(meant, dict | list) or not meant or structure(shown) is not None:
        return False
    begin = min((i for i in map(shown.find, "{[") if i >= 0), default=-1)
    written = notation.value(shown[begin:]) if begin >= 0 else None
    return written is not None and canonical(written) == canonical(meant)


def told_already(result: Any, step: Step, closely: bool) -> bool:
    """Whether a step shows this answer, or the error that a framework told the model of as if a tool had answered."""
    if not closely:
        return step.tool is not None and bool(step.tool.result == result)
    if step.tool is None:
        return step.kind == "error" and isinstance(result, str) and len(step.text) >= SHORTEST and flat(step.text) in flat(result)
    if not step.tool.returned:
        return False
    known = step.tool.result
    return bool(known == result) or (decorated(result, known) and (not isinstance(known, str) or len(known) >= SHORTEST))


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
