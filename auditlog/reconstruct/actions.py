"""Owns actions: each tool call of a timeline with the scalars of its arguments and result, where they stand, amounts, and what names it.

An amount is a number beside a currency, or under a key that says so ("amount_usd", "total"), or a text like "$400.00".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from auditlog.reconstruct.scalars import LONGEST, decoded, scalars

_CURRENCIES = """
AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES KRW MAD MXN MYR NGN NOK NZD PEN PHP PKR PLN
QAR RON RSD RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR
"""
CURRENCIES = frozenset(_CURRENCIES.split())
SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₩": "KRW", "₺": "TRY", "₽": "RUB", "₫": "VND", "₪": "ILS"}
_AMOUNT_WORDS = "amount amt total subtotal price sum cost fee balance payment paid refund credit debit charge"
AMOUNT_WORDS = frozenset(_AMOUNT_WORDS.split())
# Words that turn a number under such a key into something else: "payment_count", "refund_id".
_NOT_MONEY = "id ids count number no days day months percent pct rate index page pages items quantity"
NOT_MONEY = frozenset(_NOT_MONEY.split())
MINOR = frozenset(("cents", "cent", "minor", "pence"))
SURE = frozenset(("amount", "amt", "total", "subtotal", "price", "balance"))
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
WRITTEN = re.compile(
    r"^\s*(?P<before>[$€£¥₹₩₺₽₫₪]|[A-Z]{3})?\s*(?P<number>-?[0-9][0-9,' ]*(?:\.[0-9]+)?)\s*(?P<after>[$€£¥₹₩₺₽₫₪]|[A-Z]{3})?\s*$"
)
MOST_DIGITS = 18
_LONGEST = 80  # characters of an ID that still names a thing

Side = Literal["arguments", "result"]


class Value(msgspec.Struct, frozen=True):
    """One scalar of an action, as text, with the JSON pointer at which it stands."""

    side: Side
    pointer: str
    text: str


class Amount(msgspec.Struct, frozen=True):
    side: Side
    pointer: str
    amount: Decimal
    currency: str | None  # None: the sender did not say which


class Action(msgspec.Struct, frozen=True):
    """One tool call as a row of search."""

    step: int
    tool: str
    call_id: str | None
    at: str | None
    ended_at: str | None
    outcome: str
    offered: bool | None  # None: cannot be checked
    arguments_valid: bool | None  # likewise
    values: tuple[Value, ...]
    amounts: tuple[Amount, ...]
    event_ids: tuple[str, ...]


def actions(timeline: dict[str, Any]) -> list[Action]:
    """The tool calls of a timeline, in its order."""
    return [action(step) for step in timeline["steps"] if step["kind"] == "tool_call"]


def action(step: dict[str, Any]) -> Action:
    tool = step["tool"]
    sides: tuple[tuple[Side, Any], ...] = (("arguments", ran_with(tool)), ("result", tool.get("result")))
    return Action(
        step=step["n"],
        tool=tool["name"],
        call_id=tool.get("call_id"),
        at=step.get("at"),
        ended_at=step.get("ended_at"),
        outcome=tool["outcome"],
        offered=tool.get("offered"),
        arguments_valid=tool.get("arguments_valid"),
        values=tuple(v for side, value in sides for v in values(side, value)),
        amounts=tuple(a for side, value in sides for a in amounts(side, value)),
        event_ids=tuple(step["event_ids"]),
    )


def ran_with(tool: dict[str, Any]) -> Any:
    """What the tool ran with: what the model wrote, unless somebody changed it on the way."""
    if tool.get("executed_arguments") is not None:
        return tool["executed_arguments"]
    return tool["arguments"] if tool.get("arguments") is not None else tool.get("arguments_raw")


def values(side: Side, value: Any) -> Iterator[Value]:
    """Each scalar once per place; a text too long to be a value (a document, a letter) is for full text, not for this."""
    for pointer, scalar in scalars(value):
        if isinstance(scalar, str) and (not scalar.strip() or len(scalar) > LONGEST):
            continue
        yield Value(side, pointer, spelled(scalar))


def spelled(scalar: Any) -> str:
    """A number has one spelling, whatever the sender's: 400, 400.0 and 4e2 are found by "400"."""
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    if isinstance(scalar, int | float):
        number = _decimal(scalar)
        return plain(number) if number is not None else hex(scalar) if isinstance(scalar, int) else str(scalar)
    return str(scalar)


def plain(number: Decimal) -> str:
    """The one spelling of a number: no exponent, no zeros that say nothing."""
    return format(number.normalize(), "f") if number else "0"


def amounts(side: Side, value: Any) -> Iterator[Amount]:
    for pointer, holder in objects(decoded(value), ""):
        beside = currency_beside(holder)
        for key, inner in holder.items():
            found = _amount(str(key), inner, beside)
            if found is not None:
                yield Amount(side, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}", *found)


def objects(value: Any, pointer: str, depth: int = 0) -> Iterable[tuple[str, dict[str, Any]]]:
    """Every JSON object inside a value, within bounds."""
    if depth > 12:
        return
    if isinstance(value, dict):
        yield pointer, value
        for key, inner in value.items():
            if isinstance(inner, dict | list | str):
                yield from objects(decoded(inner), f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}", depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value[:500]):
            if isinstance(inner, dict | list):
                yield from objects(inner, f"{pointer}/{index}", depth + 1)


def currency_beside(holder: dict[str, Any]) -> str | None:
    for key, value in holder.items():
        if isinstance(value, str) and "currency" in str(key).lower() and value.strip().upper() in CURRENCIES:
            return value.strip().upper()
    return None


def _amount(key: str, value: Any, beside: str | None) -> tuple[Decimal, str | None] | None:
    said = [w.lower() for w in WORDS.findall(key)]
    if NOT_MONEY & set(said):
        return None
    in_key = next((w.upper() for w in said if w.upper() in CURRENCIES), None)
    number, written = _number(value)
    if number is None:
        return None
    currency = written or in_key or beside
    named = bool(AMOUNT_WORDS & set(said))
    if not (written or in_key or (named and (beside or SURE & set(said)))):
        return None
    return (number / 100 if MINOR & set(said) else number), currency


def _number(value: Any) -> tuple[Decimal | None, str | None]:
    """(number, the currency written with it); a bare number in a text is no amount unless it is spelled as one."""
    if isinstance(value, bool):
        return None, None
    if isinstance(value, int | float):
        return _decimal(value), None
    if not isinstance(value, str) or len(value) > 40:
        return None, None
    found = WRITTEN.match(value)
    if found is None:
        return None, None
    sign = found["before"] or found["after"] or ""
    currency = SIGNS.get(sign, sign if sign in CURRENCIES else None)
    if sign and currency is None:
        return None, None
    return _decimal(re.sub(r"[,' ]", "", found["number"])), currency


def _decimal(value: Any) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):  # ValueError: an integer of more digits than Python writes out
        return None
    return number if number.is_finite() and number.adjusted() < MOST_DIGITS else None


def line(action: Action) -> dict[str, Any]:
    """One action as a line of the ledger."""
    # Of a result only what stands at its top: the amounts inside a list that was looked up are not what the call moved.
    own = [found for found in action.amounts if found.side == "arguments"] or [a for a in action.amounts if a.pointer.count("/") == 1]
    amount = own[0] if own else None
    return {
        "n": action.step,
        "at": action.at,
        "tool": action.tool,
        "outcome": action.outcome,
        "amount": None if amount is None else plain(amount.amount),
        "currency": None if amount is None else amount.currency,
        "object": made(action),
    }


def made(action: Action) -> str | None:
    """The ID that the result names at its top and the arguments did not: what the call made, so what others refer to."""
    known = {value.text for value in action.values if value.side == "arguments"}
    for value in action.values:
        key = value.pointer.rpartition("/")[2].lower()
        named = value.side == "result" and value.pointer.count("/") == 1 and key.endswith("id")
        if named and value.text not in known and len(value.text) <= _LONGEST:
            return value.text
    return None


def notable(timeline: dict[str, Any]) -> dict[str, Any] | None:
    """The action that names a session: the last call with an amount in its arguments, else the last call."""
    calls = [step for step in timeline["steps"] if step["kind"] == "tool_call"]
    paid = (step for step in reversed(calls) if any(amounts("arguments", ran_with(step["tool"]))))
    chosen = next(paid, calls[-1] if calls else None)
    return None if chosen is None else line(action(chosen))


def notable_of(found: list[Action]) -> dict[str, Any] | None:
    paid = [action for action in found if any(amount.side == "arguments" for amount in action.amounts)]
    return line((paid or found)[-1]) if found else None
