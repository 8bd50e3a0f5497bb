"""Owns the cursor of every list: where the page before ended, as opaque text, so that a list never counts and never skips."""

from __future__ import annotations

import base64
import json
from datetime import datetime

from auditlog.errors import Problem

_WRONG = "The parameter `cursor` is none that this service gave out. Start again without it."


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
