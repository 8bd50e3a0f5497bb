"""Owns a project's rules: which class what it sends goes into, by attributes of the resource that it comes from.

A change replaces all rules, as another version. It is for what arrives from then on: what is stored stays where it is. What is sent again
after a change may lie in two classes then; as across two periods, it was received twice, and is shown and counted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.retention import classes, lock, recording
from auditlog.retention.rows import one
from auditlog.search import parameters
from auditlog.store import partitions
from auditlog.store.kept import Rule

MOST: Final = 100  # rules of a project
LONGEST: Final = 1_000  # characters of an attribute or a value


class Rules(NamedTuple):
    """All rules of a project, in their order. version 0: there never were any."""

    version: int
    rules: tuple[Rule, ...]
    created_by: dict[str, str] | None
    created_at: datetime | None


def in_force(conn: psycopg.Connection[Any], project_id: int) -> Rules:
    row = one(
        conn,
        "SELECT version, rules, created_by, created_at FROM retention_rules WHERE project_id = %s ORDER BY version DESC LIMIT 1",
        (project_id,),
    )
    return Rules(0, (), None, None) if row is None else Rules(row[0], tuple(Rule(*rule) for rule in row[1]), row[2], row[3])


def replace(conn: psycopg.Connection[Any], actor: Actor, project_id: int, wanted: Sequence[Rule], version: int) -> Rules:
    """Another version of a project's rules. version: the one that they replace, so that nobody overwrites what he has not seen.

    Raises Problem("parameter_invalid", "high_risk", "state_conflict", "overloaded"). Where keys are remembered, the old ones count for two
    seconds more.
    """
    with conn.transaction():
        lock.take(conn)
        now = in_force(conn, project_id)
        if now.version != version:
            raise Problem(
                "state_conflict",
                f"The rules are at version {now.version}, and you saw version {version}: somebody else changed them. Look at them again.",
                detail={"version": now.version},
            )
        _check(conn, project_id, wanted)
        listed = [[rule.attribute, rule.value, rule.class_no] for rule in wanted]
        conn.execute(
            "INSERT INTO retention_rules (project_id, version, rules, created_by) VALUES (%s, %s, %s, %s)",
            (project_id, version + 1, Jsonb(listed), Jsonb(recording.who(actor))),
        )
        before = [[rule.attribute, rule.value, rule.class_no] for rule in now.rules]
        recording.record(conn, [project_id], actor, "class.rules", {"version": version + 1, "rules": listed, "before": before})
    _open_buckets(conn, project_id, {rule.class_no for rule in wanted})
    return in_force(conn, project_id)


def add(conn: psycopg.Connection[Any], actor: Actor, project_id: int, rule: Rule, place: int | None = None) -> Rules:
    """One more, at a place counted from 1, else as the last. Raises as `replace`."""
    now = in_force(conn, project_id)
    at = len(now.rules) if place is None else place - 1
    if not 0 <= at <= len(now.rules):
        raise parameters.invalid("place", f"is a number from 1 to {len(now.rules) + 1}.", str(place))
    return replace(conn, actor, project_id, [*now.rules[:at], rule, *now.rules[at:]], now.version)


def remove(conn: psycopg.Connection[Any], actor: Actor, project_id: int, attribute: str, value: str) -> Rules:
    """Raises Problem("not_found") and as `replace`."""
    now = in_force(conn, project_id)
    left = [rule for rule in now.rules if (rule.attribute, rule.value) != (attribute, value)]
    if len(left) == len(now.rules):
        raise Problem("not_found", f"There is no rule for {attribute}={value} in this project.")
    return replace(conn, actor, project_id, left, now.version)


def _check(conn: psycopg.Connection[Any], project_id: int, wanted: Sequence[Rule]) -> None:
    if len(wanted) > MOST:
        raise parameters.invalid("rules", f"has {len(wanted)} rules; a project has {MOST} at most. Make a project or a key of its own.")
    seen = set()
    for rule in wanted:
        for name, text in (("attribute", rule.attribute), ("value", rule.value)):
            if (name == "attribute" and not text) or "\0" in text or len(text) > LONGEST:
                raise parameters.invalid(name, f"is a text of 1 to {LONGEST} characters without NUL.", text)
        if (rule.attribute, rule.value) in seen:
            raise parameters.invalid("value", f"has a rule already: {rule.attribute}={rule.value}. The second could never decide.")
        seen.add((rule.attribute, rule.value))
        try:
            days = classes.in_force(conn, rule.class_no).days
        except Problem:
            raise parameters.invalid("class", "is no retention class that is in force.", str(rule.class_no)) from None
        classes.no_flag(conn, "c.project_id = %s", project_id, days)


def _open_buckets(conn: psycopg.Connection[Any], project_id: int, class_nos: set[int]) -> None:
    """So that the first request under the new rules finds its partitions. Where they cannot be made now, ingest makes them when it needs
    them: the rules are in force already."""
    with suppress(psycopg.Error):
        for (period,) in conn.execute("SELECT period FROM project WHERE id = %s", (project_id,)).fetchall():
            for class_no in sorted(class_nos):
                partitions.ensure_ahead(conn, class_no, period, datetime.now(UTC))
