"""Owns a quick yes: whether a schema of the commonest keywords certainly accepts a value; every other answer is left to the validator."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Final

Surely = Callable[[Any], bool]

DEEPEST: Final = 16
_HANDLED: Final = frozenset(("type", "properties", "required", "additionalProperties", "items", "enum", "anyOf"))
_SAYS_NOTHING: Final = frozenset(("format", "$schema", "$defs", "definitions"))  # of keywords that a validator knows


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[dict[str, Surely]] = {
    "string": lambda value: isinstance(value, str),
    "number": _number,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def surely(schema: Any, keywords: Container[str], depth: int = 0) -> Surely | None:
    """A test that is true only of values that the schema accepts; None for a schema that says more than is handled here.

    `keywords`: those that the schema's draft knows; others say nothing. Schemas that refer to themselves are never handled.
    """
    if schema is True:
        return lambda value: True
    if not isinstance(schema, dict) or depth > DEEPEST:
        return None
    asked = [keyword for keyword in schema if keyword in keywords and keyword not in _SAYS_NOTHING]
    if not _HANDLED.issuperset(asked):
        return None
    tests = [_type(schema["type"])] if "type" in schema else []
    if "enum" in schema:
        tests.append(_enum(schema["enum"]))
    if "anyOf" in schema:
        tests.append(_any_of([surely(one, keywords, depth + 1) for one in schema["anyOf"]]))
    if "items" in schema:
        tests.append(_items(surely(schema["items"], keywords, depth + 1)))
    if not {"properties", "required", "additionalProperties"}.isdisjoint(schema):
        tests.append(_object(schema, {name: surely(one, keywords, depth + 1) for name, one in schema.get("properties", {}).items()}))
    made = [test for test in tests if test is not None]
    if len(made) < len(tests):
        return None
    return made[0] if len(made) == 1 else lambda value: all(test(value) for test in made)


def _type(names: Any) -> Surely | None:
    if isinstance(names, str):
        return _TYPES.get(names)
    return _any_of([_TYPES.get(name) for name in names])


def _enum(members: list[Any]) -> Surely | None:
    """Of texts only: of numbers, 1 and true would be equal here."""
    texts = frozenset(member for member in members if isinstance(member, str))
    return lambda value: isinstance(value, str) and value in texts


def _any_of(tests: list[Surely | None]) -> Surely | None:
    made = [test for test in tests if test is not None]
    return (lambda value: any(test(value) for test in made)) if len(made) == len(tests) else None


def _items(test: Surely | None) -> Surely | None:
    return None if test is None else lambda value: not isinstance(value, list) or all(map(test, value))


def _object(schema: dict[str, Any], properties: dict[str, Surely | None]) -> Surely | None:
    more, required = schema.get("additionalProperties", True), schema.get("required", ())
    tests = {name: test for name, test in properties.items() if test is not None}
    if len(tests) < len(properties) or not isinstance(more, bool):
        return None

    def accepts(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        if not all(name in value for name in required):
            return False
        return all(tests[name](inner) if name in tests else more for name, inner in value.items())

    return accepts
