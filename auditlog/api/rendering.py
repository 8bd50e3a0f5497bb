"""Owns how an answer becomes JSON: stored texts verbatim, lone surrogates escaped, and never a token that is not JSON."""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rest_framework.renderers import BaseRenderer


def instant(at: datetime | None) -> str | None:
    """A time as the API writes it: UTC, microseconds, Z."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def name_of(who: Mapping[str, str] | None) -> str | None:
    """Of {"kind", "id", "name"}, as tables keep whoever did something."""
    return None if who is None else who["name"] or who["id"]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"  # as OTLP/JSON writes them
    if isinstance(value, Mapping):
        return {key: _without_nan(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(child) for child in value]
    return value


def dumps(value: Any) -> bytes:
    try:
        text = json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_without_nan(value), default=_plain, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii")


class VerbatimJSONRenderer(BaseRenderer):
    """JSON in ASCII: a lone surrogate, which has no UTF-8, survives as its escape."""

    media_type = "application/json"
    format = "json"
    charset = None  # JSON has none

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None) -> bytes:
        return b"" if data is None else dumps(data)
