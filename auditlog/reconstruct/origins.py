"""Owns origins: for each value of a call's arguments, the earlier steps that contain it; none is the sign of an invention.

Numbers are compared as numbers, so 400 is found in "$400.00". A value of one character, a boolean or null says nothing
about where it came from and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from auditlog.reconstruct.scalars import LONGEST, scalars
from auditlog.reconstruct.steps import Step

NUMBER = re.compile(r"(?<![\w.])[-+]?\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?(?![\w])|[-+]?\d+(?:\.\d+)?")
MOST_STEPS = 20  # origins shown per value: the first ones
TEXT_LIMIT = 400_000  # characters of one step that are searched


def number_of(text: str) -> float | None:
    try:
        return float(re.sub(r"[,' ]", "", text))
    except ValueError:
        return None


class Haystack:
    """What one step says, ready to be searched many times."""

    def __init__(self, texts: Iterable[Any]) -> None:
        said: list[str] = []
        self.numbers: set[float] = set()
        for value in texts:
            if isinstance(value, str):
                said.append(value[:TEXT_LIMIT])
            else:
                for _, scalar in scalars(value):
                    if isinstance(scalar, bool):
                        continue
                    if isinstance(scalar, int | float) and abs(scalar) < 1e300:
                        self.numbers.add(float(scalar))
                    else:
                        said.append(str(scalar))
        self.text = "\n".join(said)
        self.folded = " ".join(self.text.casefold().split())
        for found in NUMBER.findall(self.text):
            value = number_of(found)
            if value is not None:
                self.numbers.add(value)

    def contains(self, wanted: Any) -> bool:
        if isinstance(wanted, int | float):
            return float(wanted) in self.numbers
        text = " ".join(str(wanted).casefold().split())
        return text in self.folded or ((number := number_of(text)) is not None and number in self.numbers)


def haystack(step: Step) -> Haystack:
    if step.tool is not None:
        return Haystack([step.tool.result, step.tool.error])  # what came back; the arguments are where it would have to come from
    return Haystack([step.text, step.detail])


def origins(tool_arguments: Any, earlier: Sequence[tuple[int, Haystack]], system: Haystack | None = None) -> list[dict[str, Any]] | None:
    """One entry per scalar that can have an origin; None where the arguments were not recorded."""
    if tool_arguments is None:
        return None
    out: list[dict[str, Any]] = []
    for pointer, value in scalars(tool_arguments):
        if isinstance(value, bool) or (isinstance(value, str) and (len(value.strip()) < 2 or len(value) > LONGEST)):
            continue
        if isinstance(value, int | float) and not abs(value) < 1e300:
            continue
        entry: dict[str, Any] = {"pointer": pointer, "steps": [n for n, hay in earlier if hay.contains(value)][:MOST_STEPS]}
        if system is not None and system.contains(value):
            entry["system_prompt"] = True
        out.append(entry)
    return out
