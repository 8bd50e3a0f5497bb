"""Owns the check of a call's arguments against the JSON Schema that was offered: 2020-12 and draft-07, bounded, fetching nothing.

Three answers: valid, invalid with the offending places, or unknown. What could not be checked is never called valid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

import jsonschema
import msgspec
from jsonschema import validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from auditlog.reconstruct.keys import ByIdentity, canonical, of_schema
from auditlog.reconstruct.surely import Surely, surely

LARGEST_SCHEMA = 256 * 1024  # bytes of JSON
REMEMBERED_SCHEMA = 16 * 1024  # bytes of JSON, of a few hundred schemas
LARGEST_ARGUMENTS = 1024 * 1024
MOST_STEPS = 20_000  # keywords evaluated for one call: schemas may refer to themselves in ways that double at every turn
MOST_ERRORS = 20
LONGEST_MESSAGE = 300  # characters: a message repeats the value that it is about
LONGEST_PATTERN = 200
STEPS_PER_UNIT = 1_000  # steps of a matcher that cost as much as one keyword
SAFE_REPEATS = 4  # of single characters and sets, one after the other
DEEPEST = 60
TYPES = frozenset(("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"))
NESTED = re.compile(r"\)[*+{]|\\[1-9]|\(\?(?!:)")
REPEATS = re.compile(r"[*+?{]")
SINGLE = re.compile(r"\\.|\[[^\]]*\]|\(\?:")
ATOM = re.compile(r"\\.|\[[^\]]*\]")
INNERMOST = re.compile(r"\(([^()]*)\)")
SAFE_WAYS = 1_000  # of choosing among the alternatives of all groups: (|a) thirty times over has a thousand million
Evaluate = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


class Verdict(NamedTuple):
    valid: bool | None
    errors: list[dict[str, str]]


VALID, UNKNOWN = Verdict(True, []), Verdict(None, [])


class TooMuch(Exception):
    """The bound on evaluated keywords was reached."""


class Bounds:
    """What one check may still spend, and whether it left anything out. It travels in the place of a checker of formats."""

    def __init__(self) -> None:
        self.left = MOST_STEPS
        self.left_out = False

    def check(self, instance: Any, name: str) -> None:
        """Formats are annotations: nothing is wrong for their sake."""


def _counted(evaluate: Evaluate) -> Evaluate:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        bounds = validator.format_checker
        bounds.left -= 1
        if bounds.left < 0:
            raise TooMuch
        return evaluate(validator, value, instance, schema)

    return counted


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """A pattern costs what matching it may cost at most; one that is too dear is left out, and the check says so."""
    if not isinstance(instance, str):
        return
    bounds, cost = validator.format_checker, len(instance) ** (_repeats(pattern) + 1) // STEPS_PER_UNIT
    if cost > bounds.left:
        bounds.left_out = True
        return
    bounds.left -= cost
    if not re.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _multiple(validator: Any, divisor: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """In decimal, as the sender wrote the numbers: 19.99 is a multiple of 0.01."""
    if not isinstance(instance, int | float) or isinstance(instance, bool):
        return
    if Decimal(str(instance)) % Decimal(str(divisor)):
        yield jsonschema.ValidationError(f"{instance!r} is not a multiple of {divisor}")


def _harmless(pattern: Any) -> bool:
    """Whether matching takes at most a small power of the text's length: no repeated groups, no references back, no assertions."""
    if not isinstance(pattern, str) or len(pattern) > LONGEST_PATTERN or NESTED.search(pattern) or _repeats(pattern) > SAFE_REPEATS:
        return False
    if _ways(pattern) > SAFE_WAYS:
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _repeats(pattern: str) -> int:
    return len(REPEATS.findall(SINGLE.sub("x", pattern)))


def _ways(pattern: str) -> int:
    """In how many ways a matcher may choose among alternatives before it gives up: the product over all groups."""
    rest, ways = ATOM.sub("x", pattern).replace("(?:", "("), 1
    while group := INNERMOST.search(rest):
        ways *= group[1].count("|") + 1
        rest = f"{rest[: group.start()]}x{rest[group.end() :]}"
    return ways


def _patterns(schema: Any, depth: int = 0) -> Iterator[Any]:
    """Every pattern anywhere in a schema; a property that is itself called so is none."""
    if depth > DEEPEST:
        yield None  # nobody looks deeper: not harmless
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            elif key == "patternProperties" and isinstance(value, dict):
                yield from (f"{p}**" if _repeats(p) else p for p in value)  # of names of any length: none that repeats anything
            yield from _patterns(value, depth + 1)
    elif isinstance(schema, list):
        for value in schema:
            yield from _patterns(value, depth + 1)


def _bounded(base: Any) -> Any:
    own: Mapping[str, Evaluate] = {**base.VALIDATORS, "pattern": _pattern, "multipleOf": _multiple}
    return validators.extend(base, {keyword: _counted(evaluate) for keyword, evaluate in own.items()})


DRAFT_7, DRAFT_2020 = _bounded(jsonschema.Draft7Validator), _bounded(jsonschema.Draft202012Validator)
NOTHING: Registry[Any] = Registry()  # knows no other schema, and fetches none


class Prepared(NamedTuple):
    """A schema, ready to check by. `surely`: whether it certainly accepts a value, for schemas of the commonest keywords."""

    validator: Callable[[Bounds], Any]
    surely: Surely | None
    keywords: int  # in it, or a few more


class Checker:
    """Checks calls of one session; each of its schemas is looked at once."""

    def __init__(self) -> None:
        self.prepared: dict[int, tuple[Any, Prepared | None]] = {}

    def check(self, schema: Any, arguments: Any) -> Verdict:
        try:
            size = len(msgspec.json.encode(arguments))
        except (TypeError, ValueError, RecursionError, OverflowError, UnicodeEncodeError, msgspec.MsgspecError):
            return UNKNOWN
        prepared = self._prepare(schema)
        if prepared is None or size > LARGEST_ARGUMENTS:
            return UNKNOWN
        # A keyword is evaluated at most once for each value, and a value takes a byte: the validator, too, would get to the end.
        if prepared.surely is not None and prepared.keywords * size <= MOST_STEPS and prepared.surely(arguments):
            return VALID
        bounds = Bounds()
        return _evaluate(prepared.validator(bounds), arguments, bounds)

    def _prepare(self, schema: Any) -> Prepared | None:
        if not isinstance(schema, dict | bool):
            return None
        if id(schema) not in self.prepared:
            self.prepared[id(schema)] = schema, _looked_at(schema).prepared  # the schema is held, so that its ID stays its own
        return self.prepared[id(schema)][1]


class Looked(NamedTuple):
    """A schema that was looked at, and how many bytes of JSON it is."""

    prepared: Prepared | None
    size: int


def _look(schema: Any) -> Looked:
    size = len(of_schema(schema))
    fits = size <= LARGEST_SCHEMA and all(_harmless(p) for p in _patterns(schema))
    return Looked(_remembered(schema) if fits else None, size)


_looked_at: Final = ByIdentity(_look, lambda looked: looked.size)


def _remembered(schema: Any) -> Prepared | None:
    """An agent offers the same tools in every session, and to see that a schema is one was half the time of a reconstruction."""
    try:
        text = json.dumps(schema)
    except (ValueError, TypeError, RecursionError):
        return _prepared(schema)
    return _of_text(text) if len(text) <= REMEMBERED_SCHEMA else _prepared(schema)


@lru_cache(maxsize=256)
def _of_text(text: str) -> Prepared | None:
    return _prepared(json.loads(text))


def _prepared(schema: Any) -> Prepared | None:
    """How to check by a schema; None where the schema itself is none."""
    settled = _lowered(schema)
    draft = str(settled.get("$schema", "")) if isinstance(settled, dict) else ""
    cls = DRAFT_7 if "draft-07" in draft or "draft-06" in draft or "draft-04" in draft else DRAFT_2020
    if isinstance(settled, dict):
        settled = {k: v for k, v in settled.items() if k != "$schema"}
    try:
        (jsonschema.Draft7Validator if cls is DRAFT_7 else jsonschema.Draft202012Validator).check_schema(settled)
    except (jsonschema.SchemaError, RecursionError, ValueError, TypeError):
        return None
    keywords = canonical(settled).count(b":")
    return Prepared(lambda bounds: cls(settled, format_checker=bounds, registry=NOTHING), surely(settled, cls.VALIDATORS), keywords)


def _lowered(value: Any, depth: int = 0) -> Any:
    """One provider writes the names of types in capitals."""
    if depth > DEEPEST:
        return value
    if isinstance(value, dict):
        return {k: v.lower() if k == "type" and isinstance(v, str) and v in TYPES else _lowered(v, depth + 1) for k, v in value.items()}
    return [_lowered(v, depth + 1) for v in value] if isinstance(value, list) else value


def _evaluate(validator: Any, arguments: Any, bounds: Bounds) -> Verdict:
    found: set[tuple[str, str]] = set()
    try:
        for error in validator.iter_errors(arguments):
            pointer = "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in error.absolute_path)
            found.add((pointer, error.message[:LONGEST_MESSAGE]))
            if len(found) >= 50 * MOST_ERRORS:
                break
    except (TooMuch, RecursionError, Unresolvable, jsonschema.exceptions.UnknownType, ValueError, TypeError, ArithmeticError):
        return UNKNOWN  # a reference elsewhere, a keyword that is not what it should be, or more work than is allowed
    if found:
        return Verdict(False, [{"pointer": pointer, "message": message} for pointer, message in sorted(found)[:MOST_ERRORS]])
    return UNKNOWN if bounds.left_out else VALID
