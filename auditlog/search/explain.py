"""Owns the timeline of one session as pages and API show it: its facts, all its events, and the pure reconstruction of both."""

from __future__ import annotations

from typing import Any

from auditlog.derive.read import SessionFacts
from auditlog.derive.timeline import build
from auditlog.search import evidence


def session_timeline(facts: SessionFacts) -> dict[str, Any]:
    """The reconstructed decision, as docs/reference/api.md describes it."""
    return build(evidence.reader(), facts)
