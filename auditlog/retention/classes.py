"""Owns retention classes: their immutable versions, which one is in force, who may choose which, and agents flagged high-risk.

Lengthening is in force at once. Shortening, or not to wait any more for somebody's event, waits for a second person. Nothing goes below the
floor of its class, and where an agent is flagged high-risk nothing below 184 days.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.retention import lock, recording
from auditlog.retention.recording import IN_FORCE, same
from auditlog.retention.rows import one, rows
from auditlog.search import parameters
from auditlog.store.kept import USED

HIGH_RISK_DAYS: Final = 184  # EU AI Act, Art. 19 and 26(6): at least six months, the longest that six months can be
LONGEST: Final = 36_525  # days
KIND: Final = re.compile(r"[a-z][a-z0-9_.-]{0,59}")
NOBODY: Final = ("agent", "agent_version")  # what is declared and is nobody whose account could end
RECEIPT: Final = "receipt"  # the clock of a class that nobody's event starts
_COLUMNS: Final[LiteralString] = (
    "class_no, version, name, days, clock, clock_of, floor_days, basis, second_person, created_at, created_by, in_force_at, approved_by"
)


class Version(NamedTuple):
    """One version of a class. `in_force_at` None: it waits for a second person, or was never approved.

    clock: "receipt", or "event": then what is of a session also waits until its event was told (clocks.py), and as many days from there.
    clock_of: whose event: user, customer, another kind of subject, or session.
    """

    class_no: int
    version: int
    name: str
    days: int
    clock: str
    clock_of: str | None
    floor_days: int
    basis: str
    second_person: bool
    created_at: datetime
    created_by: dict[str, str]
    in_force_at: datetime | None
    approved_by: dict[str, str] | None


def versions(conn: psycopg.Connection[Any]) -> list[Version]:
    """Every version of every class, oldest first."""
    return [Version(*row) for row in rows(conn, f"SELECT {_COLUMNS} FROM retention_class ORDER BY class_no, version")]


def in_force(conn: psycopg.Connection[Any], class_no: int) -> Version:
    """Raises Problem("not_found")."""
    row = one(conn, f"SELECT {_COLUMNS} FROM {IN_FORCE} c WHERE class_no = %s", (class_no,))
    if row is None:
        raise Problem("not_found", f"There is no retention class {class_no} that is in force.")
    return Version(*row)


def make(
    conn: psycopg.Connection[Any], actor: Actor, name: str, days: int, basis: str, *, clock: str = RECEIPT, second_person: bool = False,
) -> Version:  # fmt: skip
    """Another class, in force at once: nothing is in it. Raises Problem("parameter_invalid")."""
    readable(name=name, basis=basis)
    with conn.transaction():
        lock.take(conn)
        of = clock_of(clock)
        row = one(
            conn,
            "INSERT INTO retention_class (class_no, version, name, days, clock, clock_of, basis, second_person, created_by, in_force_at) "
            "SELECT min(n), 1, %s, %s, %s, %s, %s, %s, %s, now() FROM generate_series(1, 32767) n "
            f"WHERE NOT EXISTS (SELECT FROM retention_class c WHERE c.class_no = n) RETURNING {_COLUMNS}",
            (name, _in_range(days), "event" if of else RECEIPT, of, basis, second_person, Jsonb(recording.who(actor))),
        )
        made = Version(*_some(row))
        everywhere = [project for (project,) in conn.execute("SELECT id FROM project").fetchall()]  # each of them may choose it now
        about = {"class": made.class_no, "version": 1, "name": name, "days": days, "clock": clock, "basis": basis}
        recording.record(conn, everywhere, actor, "class.make", about)
    return made


def revise(
    conn: psycopg.Connection[Any], actor: Actor, class_no: int, days: int, *,
    name: str | None = None, basis: str | None = None, second_person: bool | None = None, clock: str | None = None,
) -> Version:  # fmt: skip
    """Another version of a class; what is not given stays. clock: "receipt", or whose event starts it.

    In force at once, unless something could go earlier, or with one person instead of two: then it waits for `approve`.

    Raises Problem("not_found", "below_floor", "high_risk", "parameter_invalid").
    """
    with conn.transaction():
        lock.take(conn)
        now = in_force(conn, class_no)
        of, waits = judge(conn, now, days, clock)
        second = now.second_person if second_person is None else second_person
        waits = waits or (now.second_person and not second)
        row = one(
            conn,
            "INSERT INTO retention_class (class_no, version, name, days, clock, clock_of, floor_days, basis, second_person, created_by, "
            "in_force_at) SELECT %s, max(version) + 1, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN NULL ELSE now() END "
            f"FROM retention_class WHERE class_no = %s RETURNING {_COLUMNS}",
            (class_no, name or now.name, days, "event" if of else RECEIPT, of, now.floor_days, basis or now.basis, second,
             Jsonb(recording.who(actor)), waits, class_no),
        )  # fmt: skip
        made = Version(*_some(row))
        about: dict[str, Any] = {"class": class_no, "version": made.version, "days": days, "before": now.days, "in_force": not waits}
        if of != now.clock_of:
            about |= {"clock": of or RECEIPT, "clock_before": now.clock_of or RECEIPT}
        recording.record(conn, _projects(conn, class_no), actor, "class.revise", about)
    return made


def judge(conn: psycopg.Connection[Any], now: Version, days: int, clock: str | None) -> tuple[str | None, bool]:
    """Whose event would start the clock of a class, and whether something could go earlier than now: after fewer days, or without waiting
    for the event that it waits for. clock: as of `revise`. Raises Problem("below_floor", "high_risk", "parameter_invalid")."""
    _above_floor(now, _in_range(days))
    no_flag(conn, "c.class_no = %s", now.class_no, days)
    of = now.clock_of if clock is None else clock_of(clock)
    return of, days < now.days or (now.clock_of is not None and of != now.clock_of)


def clock_of(clock: str) -> str | None:
    """Whose event starts a clock; None: receipt does. Raises Problem("parameter_invalid")."""
    if clock == RECEIPT:
        return None
    if not KIND.fullmatch(clock) or clock in NOBODY:
        raise parameters.invalid("clock", "is receipt, user, customer, session, or another kind of subject in small letters.", clock)
    return clock


def approve(conn: psycopg.Connection[Any], actor: Actor, class_no: int, version: int) -> Version:
    """A second person puts a waiting version in force. Raises Problem("not_found", "state_conflict", "second_person", "high_risk")."""
    with conn.transaction():
        lock.take(conn)
        found = [each for each in versions(conn) if each.class_no == class_no]
        waiting = next((each for each in found if each.version == version), None)
        if waiting is None:
            raise Problem("not_found", f"Retention class {class_no} has no version {version}.")
        if waiting.in_force_at is not None or waiting is not found[-1]:
            raise Problem(
                "state_conflict", f"Version {version} of class {class_no} does not wait: only the newest one can be approved, once."
            )
        if same(waiting.created_by, actor):
            raise Problem("second_person", "A shortening is approved by somebody else than the person who proposed it.")
        no_flag(conn, "c.class_no = %s", class_no, waiting.days)
        row = one(
            conn,
            f"UPDATE retention_class SET in_force_at = now(), approved_by = %s WHERE class_no = %s AND version = %s RETURNING {_COLUMNS}",
            (Jsonb(recording.who(actor)), class_no, version),
        )
        about = {"class": class_no, "version": version, "days": waiting.days, "proposed_by": waiting.created_by}
        recording.record(conn, _projects(conn, class_no), actor, "class.approve", about)
    return Version(*_some(row))


def choose(conn: psycopg.Connection[Any], actor: Actor, project_id: int, class_no: int | None, key: str | None = None) -> None:
    """The class of what a project (or one of its keys, by public ID; None: the project's) sends from now on. The owner's connection.

    What is stored stays where it is. Raises Problem("not_found", "high_risk", "parameter_invalid").
    """
    with conn.transaction():
        lock.take(conn)
        if class_no is not None:
            no_flag(conn, "c.project_id = %s", project_id, in_force(conn, class_no).days)
        elif key is None:
            raise Problem("parameter_invalid", "A project has a class; only a key can go without one of its own.")
        if key is None:
            done = conn.execute("UPDATE project SET class_no = %s WHERE id = %s", (class_no, project_id)).rowcount
        else:
            done = conn.execute(
                "UPDATE api_key SET class_no = %s WHERE project_id = %s AND public_id = %s", (class_no, project_id, key)
            ).rowcount
        if not done:
            raise Problem("not_found", f"There is no project {project_id}{f' with a key {key}' if key else ''}.")
        recording.record(conn, [project_id], actor, "class.choose", {"class": class_no, "key": key})


def flag(conn: psycopg.Connection[Any], actor: Actor, project_id: int, agent: str, high_risk: bool) -> None:
    """Says whether an agent is a high-risk system. To take it back needs somebody else: what it did may go earlier then (reclassify.py).

    Raises Problem("high_risk") where its project uses a class that is too short, Problem("second_person").
    """
    with conn.transaction():
        lock.take(conn)
        if high_risk:
            short = conn.execute(
                f"SELECT c.class_no, c.name, c.days FROM {USED} u JOIN {IN_FORCE} c USING (class_no) "
                "WHERE u.project_id = %s AND c.days < %s ORDER BY 1 LIMIT 1", (project_id, HIGH_RISK_DAYS),
            ).fetchone()  # fmt: skip
            if short is not None:
                raise Problem(
                    "high_risk",
                    f"The project or one of its keys uses class {short[0]} ({short[1]}, {short[2]} days). Logs of a high-risk system are "
                    f"kept for {HIGH_RISK_DAYS} days at least: choose another class first.",
                )
        else:
            before = one(conn, "SELECT set_by FROM agent_flag WHERE project_id = %s AND agent = %s AND high_risk", (project_id, agent))
            if before is not None and same(before[0], actor):
                raise Problem("second_person", "The flag of a high-risk system is taken back by somebody else than the person who set it.")
        conn.execute(
            "INSERT INTO agent_flag (project_id, agent, high_risk, set_by) VALUES (%s, %s, %s, %s) ON CONFLICT (project_id, agent) "
            "DO UPDATE SET high_risk = EXCLUDED.high_risk, set_by = EXCLUDED.set_by, set_at = now() "
            "WHERE agent_flag.high_risk <> EXCLUDED.high_risk",
            (project_id, agent, high_risk, Jsonb(recording.who(actor))),
        )
        recording.record(conn, [project_id], actor, "agent.flag", {"agent": agent, "high_risk": high_risk})


def _above_floor(now: Version, days: int) -> None:
    if days < now.floor_days:
        raise Problem(
            "below_floor",
            f"{days} days are less than the {now.floor_days} that class {now.class_no} ({now.name}) may not go below. {now.basis}",
            detail={"days": days, "floor_days": now.floor_days},
        )


def no_flag(conn: psycopg.Connection[Any], where: LiteralString, value: int, days: int) -> None:
    """Raises Problem("high_risk") where `days` would be too short for an agent flagged in a project that it is for."""
    if days >= HIGH_RISK_DAYS:
        return
    row = conn.execute(
        f"SELECT f.project_id, f.agent FROM agent_flag f JOIN {USED} c USING (project_id) WHERE f.high_risk AND {where} LIMIT 1", (value,)
    ).fetchone()
    if row is not None:
        raise Problem(
            "high_risk",
            f"The agent {row[1]!r} of project {row[0]} is flagged high-risk: its logs are kept for {HIGH_RISK_DAYS} days at least, and "
            f"{days} are less. EU AI Act, Art. 19 and 26(6).",
        )


def _in_range(days: int) -> int:
    """Raises Problem("parameter_invalid")."""
    if not 1 <= days <= LONGEST:
        raise parameters.invalid("days", f"is a whole number from 1 to {LONGEST}.", str(days))
    return days


def readable(**texts: str) -> None:
    """Raises Problem("parameter_invalid")."""
    for name, text in texts.items():
        if not text.strip() or "\0" in text:
            raise parameters.invalid(name, "is empty; others will read it.")


def _projects(conn: psycopg.Connection[Any], class_no: int) -> list[int]:
    """Those that send into a class, or have something kept as it says."""
    query = (
        f"SELECT project_id FROM {USED} u WHERE class_no = %(class)s "
        "UNION SELECT project_id FROM reclassified WHERE class_no = %(class)s AND ended_at IS NULL"
    )
    return [row[0] for row in conn.execute(query, {"class": class_no}).fetchall()]


def _some(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert row is not None  # INSERT and UPDATE of a row that was read under the lock
    return row
