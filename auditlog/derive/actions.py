"""Owns what names a session in the ledger: its last action that moved an amount, with the amount and the thing it made."""

from __future__ import annotations

from typing import Any, Final

from auditlog.reconstruct.actions import Action, actions

_LONGEST: Final = 80  # characters of an ID that still names a thing


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
        "amount": None if amount is None else format(amount.amount.normalize(), "f"),
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
    found = actions(timeline)
    paid = [action for action in found if any(amount.side == "arguments" for amount in action.amounts)]
    return line((paid or found)[-1]) if found else None
