"""Owns seven years of one project, lived through in a minute: what went, what stayed, and what is said of it, month by month.

What is due is decided by now() of the connection that disposes. On that one connection `sim.now()` stands before PostgreSQL's own, and a
setting moves it; no line of the product knows. What has to be there is kept in a ledger that asks nothing of the product.
"""

from __future__ import annotations

import calendar
import io
import json
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from auditlog.errors import Problem
from auditlog.export.choice import Wish
from auditlog.export.folder import export
from auditlog.item import Item, Rest
from auditlog.proof import note
from auditlog.retention import dispositions, holds
from auditlog.retention.erasure import erase_field
from auditlog.seal import keys
from auditlog.seal.sealer import Sealer
from auditlog.store import fields, partitions
from auditlog.store.connect import connect
from auditlog.store.reader import Stored
from auditlog.store.writer import Project
from auditlog.verify import standalone
from auditlog.verify.whole import Run, Scope
from tests.db.api.talks import LONG, talk
from tests.db.retention.conftest import ANA, BOB, Case, _numbers, db, owner, plain

__all__ = ["db", "owner"]

MONTHS: Final = 84
DAYS: Final = {"a": 90, "b": 184, "c": 2192}  # of each class
ROTATIONS: Final = (28, 56)
SECRET, QUARREL = "whippoorwill", "quarrelsome"


class Held(NamedTuple):
    """A hold of the plan: placed and released in the course of these months; None: never."""

    name: str  # of a filter
    value: str
    sessions: tuple[str, ...]
    placed: int
    released: int | None


def trace_of(session: str) -> uuid.UUID:
    return uuid.UUID(bytes=session.encode().rjust(16, b"\1"))


# A session is its class, the month in which it was received and its number: b301.
HOLDS: Final = (
    Held("session_id", "a051", ("a051",), 6, 11),
    Held("customer_id", "customer-a120", ("a120",), 12, 20),  # and what two hold is let go by both
    Held("q", QUARREL, ("a120", "a121"), 13, 18),  # a whole bucket
    Held("session_id", "b301", ("b301",), 31, 39),
    Held("customer_id", "customer-c011", ("c011",), 70, 77),
    Held("trace_id", trace_of("a781").hex, ("a781",), 79, None),
    Held("session_id", "c050", ("c050",), 74, None),
)
ERASED: Final = {"a100": 10, "b200": 23, "c031": 9, "c150": 20, "c400": 65, "c601": 60, "c830": 83}  # session to month
REFUSED: Final = {"a051": 7, "c050": 75}  # held when somebody would erase them
TO_ERASE: Final = {**ERASED, **REFUSED}


class Ledger:
    """What has to be there, by the plan and the calendar alone: one event a session."""

    def __init__(self) -> None:
        self.there: dict[str, datetime] = {}  # session to the moment from which it may go
        self.held: dict[str, int] = defaultdict(int)
        self.went: dict[tuple[str, int], list[int]] = defaultdict(list)  # class and month to what each disposition took

    def sent(self, session: str, ends: datetime) -> None:
        self.there[session] = ends + timedelta(days=DAYS[session[0]])

    def dispose(self, now: datetime) -> tuple[int, int]:
        """How many buckets lose something, and how many are due and held whole."""
        due: dict[tuple[str, int], list[str]] = defaultdict(list)
        for session, at in self.there.items():
            if at <= now:
                due[session[0], int(session[1:3])].append(session)
        refused = 0
        for place, sessions in due.items():
            going = [session for session in sessions if not self.held[session]]
            for session in going:
                del self.there[session]
            if going:
                self.went[place].append(len(going))
            else:
                refused += 1
        return len(due) - refused, refused


def month_at(number: int) -> tuple[datetime, datetime]:
    """Start and end of a month, counted from January 2020: numbers of buckets begin there."""
    starts = datetime(2020 + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return starts, starts + timedelta(days=calendar.monthrange(starts.year, starts.month)[1])


class Years:
    """The project, its clock and its ledger."""

    def __init__(self, case: Case, key_file: Path) -> None:
        self.case, self.key_file, self.ledger = case, key_file, Ledger()
        self.classes = {letter: next(_numbers) for letter in DAYS}
        mine = case.class_no
        for letter, case.class_no in self.classes.items():
            case.version(1, DAYS[letter])
        case.class_no = mine  # of governance, which none of the three disposes of
        self.holds: dict[Held, int] = {}
        self.kept: dict[str, list[Stored]] = {}  # what was held when its hold was placed
        self.sealer = Sealer(connect("sealer", autocommit=True), key_file)
        self._simulate()

    def _simulate(self) -> None:
        conn = self.case.conn
        conn.execute("DROP SCHEMA IF EXISTS sim CASCADE; CREATE SCHEMA sim")
        conn.execute(
            "CREATE FUNCTION sim.now() RETURNS timestamptz STABLE LANGUAGE sql AS "
            "$$ SELECT pg_catalog.current_setting('sim.now')::timestamptz $$"
        )
        ((opens,),) = self.case.rows("SELECT pg_get_functiondef('public.ensure_bucket'::regproc)")
        conn.execute(opens.replace("public.ensure_bucket", "sim.ensure_bucket").replace(" now()", " sim.now()"))
        conn.execute("SET search_path = sim, pg_catalog, public")
        for one in (conn, self.sealer._conn):
            one.execute("SET synchronous_commit = off")  # half of the test's time; what a death does is tested elsewhere

    def clock(self, now: datetime) -> None:
        self.case.conn.execute("SELECT set_config('sim.now', %s, false)", (now.isoformat(),))

    def close(self) -> None:
        """A clock of its own would mislead whatever test comes next."""
        conn = self.case.conn
        self.sealer.release()
        self.sealer._conn.close()
        conn.execute("RESET search_path")
        conn.execute("DROP SCHEMA sim CASCADE")

    def send(self, month: int) -> None:
        starts, ends = month_at(month)
        self.clock(starts)
        for letter, number in self.classes.items():
            partitions.ensure(self.case.conn, partitions.bucket_at(number, "month", starts))
            items: list[Item] = []
            for session in (f"{letter}{month:02}0", f"{letter}{month:02}1"):
                words = [SECRET] * (session in ERASED) + [QUARREL] * any(session in one.sessions for one in HOLDS if one.name == "q")
                items += talk(session, 1, " ".join([*words, LONG]))
                self.ledger.sent(session, ends)
            project = Project(self.case.id, self.case.bench.project.secret, number, "month", 1)
            self.case.bench.writer.write(project, items, key_id=None, protocol=1, received_at=starts + timedelta(days=14))
        if month % 3 == 2 or month in TO_ERASE.values():  # nothing is due before
            self.case.derive()

    def hold(self, month: int) -> None:
        for one in HOLDS:
            if one.placed == month:
                self.holds[one] = self.case.hold(**{one.name: one.value}).id
            if one.released == month:
                holds.release(self.case.conn, BOB, self.case.id, self.holds.pop(one), "Settled")
            for session in one.sessions:
                self.ledger.held[session] += (one.placed == month) - (one.released == month)
                if one.placed == month:
                    self.kept[session] = self.case.events(session)

    def erase(self, month: int) -> None:
        for session in (session for session, at in TO_ERASE.items() if at == month):
            (event,) = self.case.events(session)
            assert (SECRET in str(event.item)) == (session in ERASED)
            for field in (fields.INPUT, fields.OUTPUT):
                try:
                    with self.case.conn.transaction():
                        erase_field(self.case.conn, self.case.id, self.case.bench.project.secret, event.id, field)
                    assert session in ERASED
                except Problem as problem:
                    assert (problem.code, session in REFUSED) == ("held", True)

    def dispose(self, now: datetime) -> None:
        """Whatever the product says is due, once."""
        self.clock(now)
        self.case.derive()  # what came by now may say what a session is
        done = {"executed": 0, "held": 0}
        for one in dispositions.buckets(self.case.conn):
            if one.due and one.class_no in self.classes.values():
                proposed = dispositions.propose(self.case.conn, ANA, one.bucket)
                try:
                    self.case.execute(proposed.id)
                    done["executed"] += 1
                except Problem as problem:
                    assert problem.code == "held"
                    dispositions.end(self.case.conn, BOB, proposed.id, "cancelled", "held")
                    done["held"] += 1
        assert (done["executed"], done["held"]) == self.ledger.dispose(now), now

    def seal(self, month: int) -> None:
        if month in ROTATIONS:
            keys.ask_for_rotation(self.key_file)
        assert self.sealer.drain() > 0

    def agrees(self, month: int) -> None:
        """Nothing held is gone, nothing due remains, nothing went early."""
        found = self.case.rows("SELECT trace_key, count(*) FROM event WHERE project_id = %s AND item <> 4 GROUP BY 1", self.case.id)
        assert dict(found) == {trace_of(session): 1 for session in self.ledger.there}, month

    def governance(self) -> list[dict[str, Any]]:
        """What the service recorded of itself in the project."""
        batches = [row[0] for row in self.case.rows("SELECT DISTINCT batch_no FROM event WHERE project_id = %s AND item = 4", self.case.id)]
        items = [one.item for one in self.case.bench.reader.events_of_batches(batches)]
        return [{name: json.loads(raw) for name, raw in item.members} for item in items if isinstance(item, Rest)]


@pytest.fixture
def years(case: Case, tmp_path: Path) -> Iterator[Years]:
    made = Years(case, tmp_path / "log.key")
    yield made
    made.close()


def test_after_seven_years_nothing_held_is_gone_nothing_due_remains_and_every_absence_has_a_certificate(
    years: Years, tmp_path: Path
) -> None:
    for month in range(MONTHS):
        years.send(month)
        years.hold(month)
        years.erase(month)
        years.dispose(month_at(month)[1] + timedelta(hours=12))
        years.seal(month)
        years.agrees(month)
    years.case.conn.execute("RESET search_path")
    assert {one.sessions for one in years.holds} == {("a781",), ("c050",)}
    assert all(years.case.events(session) == years.kept[session] for one in years.holds for session in one.sessions)
    check_certificates(years)
    check_log(years)
    check_whole(years)
    stored = years.case.rows("SELECT vals FROM event UNION ALL SELECT bytes FROM content")
    assert not [1 for (data,) in stored if SECRET.encode() in plain(data)]
    folder = tmp_path / "export"
    export(years.case.conn, years.case.secrets, Wish(years.case.id, "Case", "a court", "a test"), folder)
    said = io.StringIO()
    assert standalone.main([str(folder)], said) == 0, said.getvalue()


def check_certificates(years: Years) -> None:
    """Each absence has one, in its table and among the evidence, and they count what is absent."""
    executed = [one.certificate for one in reversed(dispositions.listed(years.case.conn)) if one.state == "executed" and one.certificate]
    letters = {number: letter for letter, number in years.classes.items()}
    months = {month_at(number)[0].isoformat(): number for number in range(MONTHS)}
    went: dict[tuple[str, int], list[int]] = defaultdict(list)
    for one in executed:
        starts = datetime.fromisoformat(one["period"][0]).astimezone(UTC).isoformat()
        went[letters[one["policy"]["class"]], months[starts]].append(one["counts"]["disposed"])
    assert went == years.ledger.went
    stood = [one["about"] for one in years.governance() if one["action"] == "disposition.certificate"]
    assert sorted((one["disposition"], one["bucket"], one["counts"]["disposed"]) for one in stood) == sorted(
        (one["disposition"], one["bucket"], one["counts"]["disposed"]) for one in executed
    )


def check_log(years: Years) -> None:
    """Every checkpoint is signed; those of the rotations by the old key and the new one."""
    known = [note.Key(name, bytes(public)) for name, public in years.case.rows("SELECT name, public_key FROM log_key ORDER BY key_no")]
    assert len(known) == 1 + len(ROTATIONS)
    signers = [
        [known.index(key) for key in note.open_note(text, known).signers]
        for (text,) in years.case.rows("SELECT note FROM checkpoint ORDER BY size")
    ]
    first, second = ROTATIONS
    assert signers == [[0]] * first + [[0, 1]] + [[1]] * (second - first - 1) + [[1, 2]] + [[2]] * (MONTHS - second - 1)


def check_whole(years: Years) -> None:
    run = Run(years.case.conn, years.case.secrets, Scope())
    while not run.done:
        run.step()
    found = run.progress
    assert (found.faults, found.fault_count, found.not_sealed) == ([], 0, 0)
    assert found.batches == found.leaves == 3 * MONTHS + len(years.governance())
    assert found.events == len(years.ledger.there) + len(years.governance())
    assert found.withheld == 2 * sum(session in years.ledger.there for session in ERASED)
