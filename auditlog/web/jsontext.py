"""Owns how recorded JSON is set on a page: indented, with numbers spelled and keys repeated exactly as they were sent."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

LONGEST: Final = 2_000_000  # characters: beyond it a text is shown as it is
DEEPEST: Final = 100  # levels: the same


class Number(str):
    """A number as it was spelled: 400.0 stays 400.0, and a large one loses no digit."""


class Pairs(list[tuple[str, Any]]):
    """The members of an object, in order, repeated keys included."""


class Scalar(NamedTuple):
    """A value that fits into one cell. `kind`: text, number or word (true, false, null)."""

    text: str
    kind: str


def parse(text: str) -> Any:
    """The value of a JSON text with its spelling kept. Raises ValueError for what is no JSON."""
    if len(text) > LONGEST:
        raise ValueError("too long to be taken apart")
    try:
        return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=Number, object_pairs_hook=Pairs)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def held(value: Any) -> Any:
    """A value that was already parsed elsewhere, in the same form."""
    if isinstance(value, dict):
        return Pairs((str(key), held(child)) for key, child in value.items())
    if isinstance(value, list | tuple):
        return [held(child) for child in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Number(json.dumps(value))
    return value


def structure(value: Any) -> Any:
    """The structure of a recorded value: of a text, if it is the JSON of an object or a list; else the value itself.

    What is nested too deeply to be set is a text: one such value must not keep the page of its session from being made.
    """
    if not isinstance(value, str):
        return _one_line(value) if _deep(value) else held(value)
    if value.lstrip()[:1] in ("{", "["):
        try:
            found = parse(value)
        except ValueError:
            return value
        return value if _deep(found) else found
    return value


def _deep(value: Any) -> bool:
    """Whether it is nested deeper than can be set, found without going down itself."""
    layer = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(DEEPEST):
        below = (child for each in layer for child in (each.values() if isinstance(each, dict) else each))
        # a member of Pairs is a tuple of name and value
        inner = (child[1] if isinstance(child, tuple) and len(child) == 2 else child for child in below)
        layer = [child for child in inner if isinstance(child, dict | list | tuple)]
        if not layer:
            return False
    return True


def _one_line(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)  # written in C, so that it goes deeper
    except (ValueError, RecursionError):
        return "A value that is nested too deeply to be shown here; the record has it."


def scalar(value: Any) -> Scalar | None:
    """A cell's content; None for an object or a list."""
    if isinstance(value, Number):
        return Scalar(str(value), "number")
    if isinstance(value, str):
        return Scalar(value, "text")
    if value is None or isinstance(value, bool):
        return Scalar(json.dumps(value), "word")
    return None


def indented(value: Any, depth: int = 0) -> str:
    """The text of a structure, two spaces a level, with short lists and objects on one line."""
    if isinstance(value, Number):
        return str(value)
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    opening, closing = ("{", "}") if isinstance(value, Pairs) else ("[", "]")
    if not value:
        return opening + closing
    pad = "  " * (depth + 1)
    if isinstance(value, Pairs):
        lines = [f"{pad}{json.dumps(key, ensure_ascii=False)}: {indented(child, depth + 1)}" for key, child in value]
    else:
        lines = [pad + indented(child, depth + 1) for child in value]
        if len(value) <= 8 and all(scalar(child) is not None for child in value) and sum(map(len, lines)) < 72:
            return "[" + ", ".join(line.strip() for line in lines) + "]"
    return opening + "\n" + ",\n".join(lines) + "\n" + "  " * depth + closing
