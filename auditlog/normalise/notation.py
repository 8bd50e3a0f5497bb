"""Owns Python's notation of plain values (`{'a': None}`), which some libraries write where JSON belongs: read, never executed."""

from __future__ import annotations

import ast
import re
from typing import Any

LONGEST = 100_000  # characters
ODD = re.compile(r"\\[^\n\\'\"abfnrtv0-3xNuU]|[-+~]\s*[-+~]\s*[-+~]")  # escapes that Python warns of; chains of signs, which nest
ODD_ESCAPE = re.compile(r"\\[^\n\\'\"abfnrtv0-3xNuU]")
LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
DEEPEST = 40  # brackets within brackets


def value(text: str) -> Any:
    """The value of a text in Python's notation of dicts, lists and scalars; None where it is anything else."""
    stripped = text.strip()
    if stripped[:1] not in ("{", "[") or len(stripped) > LONGEST or ODD.search(stripped) or _depth(stripped) > DEEPEST:
        return None
    try:
        found = ast.literal_eval(stripped)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return _json(found) if isinstance(found, dict | list) else None


def texts_of(written: str, name: str) -> list[str]:
    """The texts of the members of this name in an object that was written down in Python's notation: `Message(name='...')`."""
    found: list[str] = []
    for match in re.finditer(rf"(?<!\w){re.escape(name)}=(?=['\"])", written[:LONGEST]):
        literal = LITERAL.match(written, match.end())
        try:
            text = ast.literal_eval(literal[0]) if literal is not None and not ODD_ESCAPE.search(literal[0]) else None
        except (ValueError, SyntaxError):
            continue
        if isinstance(text, str) and text.strip():
            found.append(text)
    return found


def _depth(text: str) -> int:
    """An upper bound of how deeply brackets nest: those inside of texts count, too."""
    deepest = depth = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest


def _json(found: Any) -> Any:
    if isinstance(found, dict):
        return {str(key): _json(inner) for key, inner in found.items()}
    if isinstance(found, list | tuple | set | frozenset):
        return [_json(inner) for inner in found]
    return found if isinstance(found, str | int | float | bool) or found is None else str(found)
