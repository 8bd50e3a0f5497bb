"""Owns how a session's timeline comes about: what is declared of it, all its stored events, and the pure reconstruction."""

from __future__ import annotations

from typing import Any

from auditlog.derive.read import SessionFacts
from auditlog.reconstruct.timeline import timeline
from auditlog.store.reader import Reader


def build(reader: Reader, facts: SessionFacts) -> dict[str, Any]:
    """The timeline of the contract. The same for the ledger's summary, the API and the pages."""
    return timeline(reader.events_of_traces(facts.project_id, facts.trace_keys), key=facts.key, session_id=facts.session_id)
