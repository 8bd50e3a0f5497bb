"""Owns what a tool call did, in one line: its amount, and the thing it made or touched. Pure, and no vendor is special.

An amount is a number beside a currency or under a key that says so, in arguments or result, with the pointer to where it
stands. Nothing is guessed from the name of a tool.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_AMOUNT: Final = frozenset("amount amt total subtotal price sum cost fee balance payment refund credit debit charge value".split())
_SURE: Final = frozenset("amount amt total price sum".split())  # enough by themselves; the others need a currency beside them
_MINOR: Final = frozenset("cents minor".split())
_CURRENCIES: Final = frozenset(
    "aed ars aud bgn brl cad chf clp cny cop czk dkk egp eur gbp hkd huf idr ils inr jpy kes krw mxn myr ngn nok nzd pen php pln"
    " qar ron rub sar sek sgd thb try twd uah usd vnd zar".split()
)
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?", re.ASCII)
_MAX_NODES: Final = 5000
_MAX_DEPTH: Final = 12


class Amount(NamedTuple):
    pointer: str
    value: Decimal
    currency: str | None


def words(key: str) -> list[str]:
    """The words of a key, whatever its style: amountUsd, amount_usd, AMOUNT-USD."""
    return [word.lower() for word in _WORDS.findall(key[:200])]


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        number = Decimal(str(value)) if abs(value) < 10**15 else None
        return number if number is not None and number.is_finite() else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except InvalidOperation:
            return None
    return None


def _decoded(value: Any) -> Any:
    """A result is often JSON inside a string; anything else is taken as it is."""
    if isinstance(value, str) and value[:1] in "[{" and len(value) < 1_000_000:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _walk(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object inside a value with its JSON pointer, outermost first, within limits."""
    queue: list[tuple[str, Any, int]] = [("", _decoded(value), 0)]
    for seen, (pointer, node, depth) in enumerate(queue):  # grows while it is walked
        if seen > _MAX_NODES or depth > _MAX_DEPTH:
            return
        if isinstance(node, dict):
            yield pointer, node
            queue.extend((f"{pointer}/{_escape(key)}", child, depth + 1) for key, child in node.items() if isinstance(child, dict | list))
        elif isinstance(node, list):
            queue.extend((f"{pointer}/{i}", child, depth + 1) for i, child in enumerate(node[:1000]) if isinstance(child, dict | list))


def _escape(key: str) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _currency_beside(node: dict[str, Any]) -> str | None:
    for key, value in node.items():
        if isinstance(value, str) and len(value) == 3 and "currency" in words(key) and value.lower() in _CURRENCIES:
            return value.upper()
    return None


def amounts(value: Any) -> list[Amount]:
    """All amounts in an argument object or a result, in the order in which they stand there."""
    found = []
    for pointer, node in _walk(value):
        beside = _currency_beside(node)
        for key, child in node.items():
            said = words(key)
            if not _AMOUNT.intersection(said):
                continue
            number = _number(child)
            currency = next((word.upper() for word in said if word in _CURRENCIES), beside)
            if number is None or (currency is None and not _SURE.intersection(said)):
                continue
            if _MINOR.intersection(said):
                number /= 100
            found.append(Amount(f"{pointer}/{_escape(key)}", number, currency))
    return found


def made(arguments: Any, result: Any) -> str | None:
    """The ID that a result names and the arguments did not: what the call made, so the thing that others refer to."""
    known = set()
    for _, node in _walk(arguments):
        known.update(str(child) for child in node.values() if isinstance(child, str | int))
    for pointer, node in _walk(result):
        if pointer:
            return None  # only at the top: an ID further down is of something else
        for key, child in node.items():
            if isinstance(child, str) and 0 < len(child) <= 80 and words(key)[-1:] == ["id"] and child not in known:
                return child
    return None


def action(step: dict[str, Any]) -> dict[str, Any]:
    """One tool-call step of a timeline as a line of the ledger."""
    tool = step["tool"]
    result = tool.get("result")
    found = amounts(tool.get("arguments")) or (amounts(result) if not isinstance(_decoded(result), list) else [])
    main = found[0] if found else None
    return {
        "n": step["n"],
        "at": step.get("at"),
        "tool": tool["name"],
        "outcome": tool.get("outcome") or "unknown",
        "amount": None if main is None else format(main.value.normalize(), "f"),
        "currency": None if main is None else main.currency,
        "object": made(tool.get("arguments"), result),
    }


def notable(steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The action that names a session: the last call with an amount in its arguments, else the last call."""
    calls = [step for step in steps if step["kind"] == "tool_call"]
    paid = [step for step in calls if amounts(step["tool"].get("arguments"))]
    chosen = (paid or calls)[-1:]
    return action(chosen[0]) if chosen else None
