"""Owns what the search page shows of a search beside its rows: what was said around the words, and counts that narrow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from django.db import transaction

from auditlog.errors import Problem
from auditlog.search import facets
from auditlog.search.bounds import shorter
from auditlog.search.excerpts import Excerpt, excerpts
from auditlog.search.scope import Scope
from auditlog.web import markup
from auditlog.web.links import step_address
from auditlog.web.present import SPEAKERS
from auditlog.web.recent import IDENTIFYING

COUNTED: Final = "facets"  # the parameter of an address that asks for counts
_LABELS: Final = {
    "agent": "Agent",
    "customer_id": "Customer",
    "tool": "Tool called",
    "outcome": "Outcome of a call",
    "verdict": "Trail",
    "finding": "Finding",
}
_WORDS: Final = {
    "outcome": {"unknown": "outcome unknown"},
    "verdict": {"complete": "complete", "gaps": "with gaps", "unevaluable": "cannot be checked"},
}
_PATIENCE: Final = 3  # seconds that counting may take beside a page that is wanted anyway


def passages(scope: Scope, keys: Sequence[str], question: str) -> dict[str, list[dict[str, Any]]]:
    """Per session, the passages as web/rows.py prints them. For whoever may read content only."""
    return {key: [_passage(key, one) for one in found] for key, found in excerpts(scope, keys, question).items()}


def _passage(key: str, one: Excerpt) -> dict[str, Any]:
    return {
        "url": step_address(key, one.step),
        "number": one.step + 1,
        "who": SPEAKERS.get(one.kind, one.kind),
        "pieces": [(piece.hit, markup.of(piece.text)) for piece in one.pieces],
        "before": one.before,
        "after": one.after,
    }


def counts(
    scope: Scope, query: Mapping[str, str], given: dict[str, str], zone: tzinfo, address: Callable[..., str], *, content: bool
) -> dict[str, Any]:
    """What `_facets.html` shows: counts where the address asks for them, else the address that does. `address` changes parameters."""
    if query.get(COUNTED) != "1":
        return {"facets_href": address(facets="1")}
    try:
        with transaction.atomic(), shorter(_PATIENCE):
            found = facets.facets(scope, given, zone, content=content)
    except Problem as problem:
        if problem.code != "query_timeout":
            raise
        return {"facets_late": _PATIENCE, "facets_without": address(facets=None)}
    # Whoever names a customer is shown all of the time, and so more than was counted here: such a value keeps the range that nobody chose.
    chosen = any(query.get(name) for name in ("from", "to", "when"))
    kept = {} if chosen else {name: given[name] for name in ("from", "to") if name in given}
    shown = [
        {
            "label": _LABELS[name],
            "more": facet.more,
            "values": [
                {
                    "text": _WORDS.get(name, {}).get(one.text, one.text),
                    "sessions": one.sessions,
                    "href": address(**{name: one.text}, **(kept if name in IDENTIFYING else {}))
                    if one.exact and given.get(name) != one.text
                    else None,
                    "chosen": given.get(name) == one.text,
                }
                for one in facet.values
            ],
        }
        for name, facet in found.of.items()
        if facet.values
    ]
    return {"facets": shown, "facets_of": found.sessions, "facets_cut": found.cut, "facets_without": address(facets=None)}
