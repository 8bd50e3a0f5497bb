"""Owns what the search page shows of a search beside its rows: what was said around the words that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditlog.search.excerpts import excerpts
from auditlog.search.scope import Scope
from auditlog.web.links import step_address
from auditlog.web.present import SPEAKERS


def passages(scope: Scope, keys: Sequence[str], question: str) -> dict[str, list[dict[str, Any]]]:
    """Per session, the passages of `_excerpts.html`. For whoever may read content only."""
    return {
        key: [{"url": step_address(key, one.step), "who": SPEAKERS.get(one.kind, one.kind), "said": one} for one in found]
        for key, found in excerpts(scope, keys, question).items()
    }
