"""Owns the checks of rules: a request of several classes, what is sent again, who may change them, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from auditlog import models
from auditlog.errors import Problem
from auditlog.ingest.auth import Keys
from auditlog.item import STRING, Context, Item, Rest, Span
from auditlog.platform import first_run
from auditlog.proof import merkle
from auditlog.retention import classes, recording, rules
from auditlog.store import partitions
from auditlog.store.connect import connect
from auditlog.store.kept import Rule
from auditlog.store.writer import Project, Writer
from tests.db.api.talks import talk
from tests.db.derived import NOW
from tests.db.retention.conftest import ANA, Case, seal


def of(session: str, turns: int = 1, **resource: str) -> list[Item]:
    """A talk from a resource with these attributes."""
    context = Context(resource=[(name, STRING, value) for name, value in resource.items()], scope=("test", "1"))
    return [msgspec.structs.replace(item, context=context) for item in talk(session, turns) if isinstance(item, Span)]


def refused(code: str, work: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as problem:
        work()
    assert problem.value.code == code
    return problem.value


def rule(case: Case, *wanted: Rule) -> None:
    """These rules, and a writer that knows them."""
    rules.replace(case.conn, ANA, case.id, wanted, rules.in_force(case.conn, case.id).version)
    case.bench.project = recording.stored(case.conn, case.id)


def lies(case: Case) -> dict[str, set[int]]:
    """Session to the classes in which something of it lies: what is there, not what is said of it, nor what is shown once."""
    found: dict[str, set[int]] = {}
    for session in ("s-dev", "s-high", "s-prod"):
        trace = session.encode().rjust(16, b"\1")[-16:]
        found[session] = {row[0] for row in case.rows("SELECT bucket >> 16 FROM event WHERE trace_id = %s", trace)}
    return found


def parts(case: Case, number: int) -> list[tuple[int, int, int]]:
    """(class, its version, events) of a batch."""
    query = "SELECT bucket >> 16, class_version, count FROM part WHERE batch_no = %s ORDER BY 1"
    return [(row[0], row[1], row[2]) for row in case.rows(query, number)]


THREE = ("s-dev", {"env": "dev"}), ("s-high", {"risk": "high"}), ("s-prod", {"env": "prod"})


def three(turns: int = 2) -> list[Item]:
    return [item for session, resource in THREE for item in of(session, turns, **resource)]


def test_one_request_is_one_transaction_with_a_part_for_each_class(case: Case, tmp_path: Path) -> None:
    rule(case, Rule("env", "dev", 4), Rule("risk", "high", 3))
    written = case.send(three())
    assert lies(case) == {"s-dev": {4}, "s-high": {3}, "s-prod": {case.class_no}}
    assert parts(case, written.batch_no) == [(3, 1, 3), (4, 1, 3), (case.class_no, 1, 3)]
    assert (written.stored, written.acknowledged, written.duplicates) == (9, 9, 0)
    digests = [event.digest for session, _ in THREE for event in case.events(session)]
    assert written.root == merkle.batch_root(digests)  # the receipt is over all of them
    assert case.faults() == []
    seal(case, tmp_path / "log.key")
    assert case.rows("SELECT count(*) FROM leaf WHERE batch_no = %s", written.batch_no) == [(3,)]
    case.derive()
    assert case.sessions() == ["s-dev", "s-high", "s-prod"]


def test_a_resend_finds_duplicates_in_each_class(case: Case) -> None:
    rule(case, Rule("env", "dev", 4), Rule("risk", "high", 3))
    first = case.send(three())
    again = case.send(three())
    assert (again.stored, again.duplicates, again.acknowledged, again.root) == (0, 9, 9, first.root)
    assert [count for _, _, count in parts(case, again.batch_no)] == [0, 0, 0]
    more = case.send([*three(), *of("s-dev", 3, env="dev")[3:]])  # the same, and something new in one of the classes
    assert (more.stored, more.duplicates) == (2, 9) and parts(case, more.batch_no)[1] == (4, 1, 2)
    assert case.faults() == []


def test_what_is_sent_again_under_other_rules_is_kept_twice_and_shown_and_counted_once(case: Case) -> None:
    case.send(of("s-dev", 2, env="dev"))
    rule(case, Rule("env", "dev", 4))
    again = case.send(of("s-dev", 2, env="dev"))
    assert again.stored == 3 and lies(case)["s-dev"] == {4, case.class_no}
    case.derive()
    assert case.rows("SELECT events FROM tally WHERE project_id = %s", case.id) == [(3,)]
    assert case.rows("SELECT model_calls, tool_calls FROM session WHERE project_id = %s", case.id) == [(2, 1)]
    assert len({event.id for event in case.events("s-dev")}) == 3 == len(case.events("s-dev"))
    case.dispose()  # of the one that is due: the other stays, and with it the session
    case.derive()
    assert case.sessions() == ["s-dev"] and lies(case)["s-dev"] == {4} and case.faults() == []


def test_killed_before_the_commit_nothing_of_any_part_is_there(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(case, Rule("env", "dev", 4), Rule("risk", "high", 3))
    before = case.rows("SELECT count(*) FROM part")
    put, done = Writer._put, []

    def killed(made: Writer, conn: psycopg.Connection[Any], project: Project, part: Any, *rest: Any) -> None:
        put(made, conn, project, part, *rest)
        done.append(part)
        if len(done) % 3 == 0:  # the events of all three classes are written
            case.conn.execute("SELECT pg_terminate_backend(%s, 5000)", (conn.info.backend_pid,))

    monkeypatch.setattr(Writer, "_put", killed)
    refused("store_unavailable", lambda: case.send(three()))
    monkeypatch.undo()
    assert len(done) == 6  # once more over a new connection
    assert lies(case) == {session: set() for session, _ in THREE} and case.rows("SELECT count(*) FROM part") == before
    assert case.send(three()).stored == 9 and case.faults() == []


def test_partitions_of_several_classes_that_are_missing_are_made_on_the_spot(case: Case) -> None:
    for number in (7_001, 7_002):
        case.conn.execute(
            "INSERT INTO retention_class (class_no, version, name, days, basis, created_by, in_force_at) "
            'VALUES (%s, 1, \'x\', 9, \'none\', \'{"kind": "service", "id": "test", "name": ""}\', now()) ON CONFLICT DO NOTHING',
            (number,),
        )
    rule(case, Rule("env", "dev", 7_001), Rule("risk", "high", 7_002))
    at = NOW - timedelta(days=9)  # before what setting the rules has made
    assert case.rows("SELECT FROM bucket WHERE bucket = %s", partitions.bucket_at(7_001, "day", at).number) == []
    assert case.bench.send(three(), at).stored == 9 and lies(case)["s-high"] == {7_002} and case.faults() == []


def test_a_closed_bucket_of_one_class_sends_the_whole_request_into_the_present(case: Case) -> None:
    rule(case, Rule("env", "dev", 4), Rule("risk", "high", 3))
    case.send(of("s-other", 1, env="dev"))
    bucket = partitions.bucket_at(4, "day", case.past).number
    case.conn.execute("UPDATE bucket SET state = 'closed' WHERE bucket = %s", (bucket,))
    try:
        case.send(three())
        found = {event.bucket for session, _ in THREE for event in case.events(session)}
        assert {partitions.bucket_at(number, "day", NOW).number for number in (3, 4, case.class_no)} == found
    finally:
        case.conn.execute("UPDATE bucket SET state = 'open' WHERE bucket = %s", (bucket,))


def test_what_the_service_records_and_what_has_no_resource_goes_by_the_project(case: Case) -> None:
    rule(case, Rule("env", "dev", 4))
    number = case.send([Rest([b'{"env":', b"}"], [("env", b'"dev"')], session_id="s-rest")]).batch_no
    assert parts(case, number) == [(case.class_no, 1, 1)]
    assert {row[0] >> 16 for row in case.rows("SELECT bucket FROM event WHERE project_id = %s AND item = 4", case.id)} == {case.class_no}


def test_ingest_knows_the_rules_of_a_key_with_the_versions_in_force(case: Case) -> None:
    key, text = models.ApiKey.issue(case.row, "k", ["ingest"])
    rule(case, Rule("env", "dev", case.class_no), Rule("risk", "high", 3))
    classes.revise(case.conn, ANA, case.class_no, 5)
    classes.revise(case.conn, ANA, case.class_no, 2)  # waits
    classes.choose(case.conn, ANA, case.id, 2, key.public_id)
    with connect("ingest", autocommit=True) as conn:
        found = Keys(lambda: conn).check(text, "ingest").project
    assert found.rules == (Rule("env", "dev", case.class_no, 2), Rule("risk", "high", 3, 1)) and found.class_no == 2
    assert {3, case.class_no, 2} <= {row[0] for row in case.rows("SELECT class_no FROM bucket WHERE ends > now()")} | {
        number >> 16 for number in first_run.open_buckets()
    }


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ([Rule("", "dev", 4)], "attribute"),
        ([Rule("env", "d\0v", 4)], "value"),
        ([Rule("env", "x" * 1_001, 4)], "value"),
        ([Rule("env", "dev", 8_888)], "class"),
        ([Rule("env", "dev", 70_000)], "class"),
        ([Rule("env", "dev", 4), Rule("env", "dev", 3)], "value"),
        ([Rule("env", str(n), 4) for n in range(101)], "rules"),
    ],
)
def test_what_could_not_decide_anything_is_refused(case: Case, wanted: list[Rule], name: str) -> None:
    problem = refused("parameter_invalid", lambda: rules.replace(case.conn, ANA, case.id, wanted, 0))
    assert problem.detail["parameter"] == name and rules.in_force(case.conn, case.id).version == 0


def test_nobody_overwrites_rules_that_he_has_not_seen(case: Case) -> None:
    rule(case, Rule("env", "dev", 4))
    refused("state_conflict", lambda: rules.replace(case.conn, ANA, case.id, [], 0))
    rules.add(case.conn, ANA, case.id, Rule("risk", "high", 3), place=1)
    found = rules.in_force(case.conn, case.id)
    assert found.version == 2 and [one.attribute for one in found.rules] == ["risk", "env"]
    refused("not_found", lambda: rules.remove(case.conn, ANA, case.id, "env", "prod"))
    assert rules.remove(case.conn, ANA, case.id, "env", "dev").rules == (Rule("risk", "high", 3),)
    refused("parameter_invalid", lambda: rules.add(case.conn, ANA, case.id, Rule("x", "y", 3), place=3))
    assert case.rows("SELECT count(*) FROM retention_rules WHERE project_id = %s", case.id) == [(3,)]  # none is lost


def test_a_high_risk_agent_keeps_short_classes_out_of_the_rules(case: Case) -> None:
    classes.choose(case.conn, ANA, case.id, 3)
    rules.replace(case.conn, ANA, case.id, [Rule("env", "dev", 4)], 0)
    refused("high_risk", lambda: classes.flag(case.conn, ANA, case.id, "loans", True))
    rules.replace(case.conn, ANA, case.id, [Rule("env", "dev", 2)], 1)
    classes.flag(case.conn, ANA, case.id, "loans", True)
    refused("high_risk", lambda: rules.replace(case.conn, ANA, case.id, [Rule("env", "dev", 4)], 2))
    refused("high_risk", lambda: classes.revise(case.conn, ANA, 2, 100))


def test_each_change_is_recorded_with_what_was_before(case: Case) -> None:
    rule(case, Rule("env", "dev", 4))
    rule(case, Rule("risk", "high", 3))
    query = "SELECT count(*) FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0"
    assert case.rows(query, case.id, b"class.rules") == [(2,)]


def test_the_roles_of_pages_and_ingest_can_neither_change_nor_remove_a_rule(case: Case) -> None:
    rule(case, Rule("env", "dev", 4))
    for role in ("web", "ingest"):
        for change in ("UPDATE retention_rules SET rules = '[]'", "DELETE FROM retention_rules", "DELETE FROM clock_event"):
            with connect(role, autocommit=True) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(change.encode())
