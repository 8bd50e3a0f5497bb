"""Owns Python's notation of values (`{'a': None}`) and objects (`Message(role='user')`), which some libraries write where JSON belongs.

Read, never executed.
"""

from __future__ import annotations

import ast
import re
from typing import Any

LONGEST = 100_000  # characters
ODD = re.compile(r"\\[^\n\\'\"abfnrtv0-3xNuU]|[-+~]\s*[-+~]\s*[-+~]")  # escapes that Python warns of; chains of signs, which nest
ODD_ESCAPE = re.compile(r"\\[^\n\\'\"abfnrtv0-3xNuU]")
LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
QUOTES = ("'", '"')
OBJECT = re.compile(r"(?:\[\s*)?[A-Za-z_][\w.]*(?:\(|=)")
FIELDS = re.compile(r"[A-Za-z_]\w*=")  # an object that is written without its name: its fields, with blanks between them
# A literal that never ends goes on to the end of the text: else each quote in it would be tried, up to the end, again.
QUOTED = r"'(?:[^'\\]|\\[\s\S])*(?:'|\\?\Z)|\"(?:[^\"\\]|\\[\s\S])*(?:\"|\\?\Z)"
ANGLED = re.compile(QUOTED + r"|<[A-Za-z_][\w.]*(?:: (?P<value>'[^'\\]*'|\d+)|(?: object)?(?: at 0x[0-9a-f]+)?)>")
BETWEEN = re.compile(QUOTED + r"|(?<=[^,\s(\[{])\s+(?=[A-Za-z_]\w*=)")
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


def objects(text: str) -> Any:
    """Like `value`, also where objects stand in it: `Name(a=1)` becomes {"a": 1}, `<Role.USER: 'user'>` "user"; None where unclear."""
    text = text.strip()
    if len(text) > LONGEST or not OBJECT.match(text) or ODD_ESCAPE.search(text):
        return None
    plain = ANGLED.sub(_angled, text)
    if _depth(plain) > DEEPEST or ODD.search(ANGLED.sub("", text)):
        return None
    if FIELDS.match(plain):
        plain = f"_({BETWEEN.sub(lambda m: m[0] if m[0][0] in QUOTES else ', ', plain)})"
    try:
        found = _node(ast.parse(plain, mode="eval").body)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return found if isinstance(found, dict | list) else None


def _angled(match: re.Match[str]) -> str:
    """A literal stays; of an enumeration's member its value; of any other object nothing is known."""
    return match[0] if match[0][0] in QUOTES else match["value"] or "None"


def _node(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int | float | bool) or node.value is None else str(node.value)
    if isinstance(node, ast.Dict):
        return {_key(k): _node(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_node(e) for e in node.elts]
    if isinstance(node, ast.Call):
        named = {k.arg: _node(k.value) for k in node.keywords if k.arg is not None}
        return named if named or len(node.args) != 1 else _node(node.args[0])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _node(node.operand)
        return -inner if isinstance(inner, int | float) else None
    if isinstance(node, ast.Name | ast.Attribute):
        return node.id if isinstance(node, ast.Name) else node.attr
    raise ValueError("no notation of a value")


def _key(node: ast.AST) -> str:
    """No container: each one around it would escape its quotes once more, and forty of them would fill any memory."""
    found = _node(node)
    if isinstance(found, dict | list):
        raise ValueError("no notation of a key")
    return str(found)


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
