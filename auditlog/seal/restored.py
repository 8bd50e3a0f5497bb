"""Owns going on with a database that is older than what was signed: only when the operator says so, and never over rows that contradict."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from auditlog.proof import merkle
from auditlog.seal import signed
from auditlog.seal.log import Contradiction, Log
from auditlog.seal.refusal import Refused, Why


class Plan(NamedTuple):
    """now: what the database has; before: what was signed last, as far as it is known."""

    now: signed.Signed
    before: signed.Signed | None


def look(conn: psycopg.Connection[Any], key_file: Path) -> Plan:
    """Raises Refused where the rows of the log do not give its last checkpoint: that is not cured by accepting it."""
    store = Log(conn)
    head = store.head()
    size, root = (head.size, head.root) if head else (0, merkle.EMPTY_ROOT)
    try:
        if store.edge(size).root() != root:
            raise Refused(Why.ROOT_DIFFERS)
    except Contradiction as error:
        raise Refused(Why.ROOT_DIFFERS) from error
    try:
        before = signed.read(signed.path(key_file))
    except (ValueError, KeyError, TypeError):
        before = None
    return Plan(signed.Signed(size, root), before)


def accept(key_file: Path, plan: Plan, reason: str) -> None:
    signed.accept(signed.path(key_file), plan.now, reason)
