"""Owns origins: for each value of a call's arguments, the earlier steps that contain it; none is the sign of an invention.

Numbers are compared as numbers, so 400 is found in "$400.00". A value of one character, a boolean or null says nothing
about where it came from and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from auditlog.reconstruct.scalars import LONGEST, scalars
from auditlog.reconstruct.step import Step

NUMBER = re.compile(r"(?<![\w.])[-+]?\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?(?![\w])|[-+]?\d+(?:\.\d+)?")
MOST_STEPS = 20  # origins shown per value: the first ones
BLOCKS = (1024, 32)  # steps searched as one, largest first
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

    def contains(self, wanted: Wanted) -> bool:
        return (wanted.text is not None and wanted.text in self.folded) or (wanted.number is not None and wanted.number in self.numbers)


class Wanted:
    """One value that is looked for, and where it was found so far."""

    def __init__(self, value: Any) -> None:
        if isinstance(value, int | float):
            self.text: str | None = None
            self.number: float | None = float(value)
        else:
            self.text = " ".join(str(value).casefold().split())
            self.number = number_of(self.text)
        self.found: list[int] = []
        self.searched = 0


class Block:
    """Many steps searched as one, so that what stands nowhere in them is not looked for in each."""

    def __init__(self, steps: list[Haystack]) -> None:
        self.folded = "\n".join(h.folded for h in steps)
        self.numbers: set[float] = set().union(*(h.numbers for h in steps))

    def contains(self, wanted: Wanted) -> bool:
        return (wanted.text is not None and wanted.text in self.folded) or (wanted.number is not None and wanted.number in self.numbers)


class Search:
    """Looks values up in the steps so far; a value that is asked for again is only looked for in what came since."""

    def __init__(self, system: Haystack) -> None:
        self.system = system
        self.steps: list[tuple[int, Haystack]] = []
        self.wanted: dict[tuple[type, Any], Wanted] = {}
        self.blocks: dict[tuple[int, int], Block] = {}

    def add(self, n: int, step: Step) -> None:
        self.steps.append((n, haystack(step)))
        for size in BLOCKS:
            if len(self.steps) % size == 0:
                self.blocks[size, len(self.steps) - size] = Block([h for _, h in self.steps[-size:]])

    def find(self, value: Any) -> list[int]:
        wanted = self.wanted.setdefault((type(value), value), Wanted(value))
        while wanted.searched < len(self.steps) and len(wanted.found) < MOST_STEPS:
            skipped = self._skipped(wanted)
            if skipped:
                wanted.searched += skipped
                continue
            n, hay = self.steps[wanted.searched]
            wanted.searched += 1
            if hay.contains(wanted):
                wanted.found.append(n)
        return list(wanted.found)

    def _skipped(self, wanted: Wanted) -> int:
        """How many steps from here on certainly do not contain it."""
        for size in BLOCKS:
            if wanted.searched % size == 0:
                block = self.blocks.get((size, wanted.searched))
                if block is not None and not block.contains(wanted):
                    return size
        return 0

    def origins(self, arguments: Any) -> list[dict[str, Any]] | None:
        """One entry per scalar that can have an origin; None where the arguments were not recorded."""
        if arguments is None:
            return None
        out: list[dict[str, Any]] = []
        for pointer, value in scalars(arguments):
            if isinstance(value, bool) or (isinstance(value, str) and (len(value.strip()) < 2 or len(value) > LONGEST)):
                continue
            if isinstance(value, int | float) and not abs(value) < 1e300:
                continue
            entry: dict[str, Any] = {"pointer": pointer, "steps": self.find(value)}
            if self.system.contains(Wanted(value)):
                entry["system_prompt"] = True
            out.append(entry)
        return out


def haystack(step: Step) -> Haystack:
    if step.tool is not None:
        return Haystack([step.tool.result, step.tool.error])  # what came back; its arguments are what has to come from somewhere
    return Haystack([step.text, step.detail])
