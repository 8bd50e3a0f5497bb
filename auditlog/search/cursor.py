"""Owns the cursor of every list: where the page before ended, as opaque text, so that a list never counts and never skips."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from auditlog.errors import Problem

_BIGGEST: Final = 2**63 - 1
_WRONG: Final = "The parameter `cursor` is none that this service gave out. Start again without it."


def encode(at: datetime, key: str) -> str:
    """Position of the last row shown: its time, and its key where times are equal."""
    return base64.urlsafe_b64encode(json.dumps([at.isoformat(), key]).encode()).decode("ascii").rstrip("=")


def decode(text: str) -> tuple[datetime, str]:
    """Raises Problem("parameter_invalid")."""
    try:
        at, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        moment = datetime.fromisoformat(at)
    except (ValueError, TypeError, RecursionError):
        raise Problem("parameter_invalid", _WRONG, detail={"parameter": "cursor"}) from None
    if not isinstance(key, str) or len(key) > 128 or "\0" in key or moment.tzinfo is None:
        raise Problem("parameter_invalid", _WRONG, detail={"parameter": "cursor"})
    return moment, key


def below(given: Mapping[str, str]) -> int | None:
    """Of a list by numbers, falling: that of the last row shown, None at its start. Raises Problem("parameter_invalid")."""
    if not given.get("cursor"):
        return None
    key = decode(given["cursor"])[1]
    if not key.isascii() or not key.isdigit() or int(key) > _BIGGEST:
        raise Problem("parameter_invalid", _WRONG, detail={"parameter": "cursor"})
    return int(key)
