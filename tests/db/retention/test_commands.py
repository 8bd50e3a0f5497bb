"""Owns the checks of `manage.py dispose`, `retention` and `export`: from what is due to the certificate, and what is handed over."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from auditlog import models
from auditlog.verify import standalone
from tests.db.api.talks import talk
from tests.db.retention.conftest import Case, seal


@pytest.fixture
def people(case: Case) -> Case:
    User.objects.all().delete()
    for name, role in (("ana", "compliance"), ("bob", "compliance"), ("vera", "viewer")):
        models.Member.join(User.objects.create_user(name), case.row, [role])
    return case


def run(*arguments: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*map(str, arguments), stdout=out, **options)
    return out.getvalue()


def test_from_what_is_due_to_the_certificate(people: Case) -> None:
    people.talk("s-1")
    people.derive()
    people.version(2, second_person=True)
    assert f"bucket {people.bucket} " in run("dispose") and "due since" in run("dispose")
    assert json.loads(run("dispose", "--dry-run", people.bucket))["counts"]["events"] == 3
    assert people.rows("SELECT FROM disposition") == []
    told = run("dispose", "--propose", people.bucket, "--by", "ana")
    number = int(told.split("Disposition ")[1].split()[0])
    with pytest.raises(CommandError, match="second_person"):
        run("dispose", "--execute", number, "--by", "ana")
    run("dispose", "--approve", number, "--by", "bob")
    out = run("dispose", "--execute", number, "--by", "ana")
    certificate = json.loads(out[out.index("{") :])
    assert certificate["counts"]["disposed"] == 3 and certificate["approved"]["by"]["name"] == "bob"
    assert f"disposition {number}  bucket {people.bucket}  executed  by ana" in run("dispose") and people.sessions() == []


@pytest.mark.parametrize(("by", "words"), [((), "--by"), (("--by", "vera"), "compliance"), (("--by", "nobody"), "no active account")])
def test_nobody_else_decides(people: Case, by: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run("dispose", "--propose", people.bucket, *by)


def test_a_proposal_is_refused_with_a_reason(people: Case) -> None:
    people.talk("s-1")
    people.derive()
    run("dispose", "--propose", people.bucket, "--by", "ana")
    (number,) = people.rows("SELECT id FROM disposition")[0]
    assert "is refused" in run("dispose", "--refuse", number, "--by", "bob", "--reason", "an audit is coming")
    assert people.rows("SELECT state, ended_by ->> 'name' FROM disposition") == [("refused", "bob")]


def test_classes_are_revised_approved_and_chosen(people: Case) -> None:
    number, slug = people.class_no, people.row.slug
    assert f"class {number} version 2  A day  9 days  in force" in run("retention", "--revise", number, "--days", 9, "--by", "ana")
    assert "waits for a second person" in run("retention", "--revise", number, "--days", 5, "--by", "ana")
    with pytest.raises(CommandError, match="second_person"):
        run("retention", "--approve", number, 3, "--by", "ana")
    assert f"class {number} version 3  A day  5 days  in force" in run("retention", "--approve", number, 3, "--by", "bob")
    with pytest.raises(CommandError, match="high_risk"):
        run("retention", "--flag", slug, "loans", "--by", "ana")
    run("retention", "--choose", slug, "--class", 3, "--by", "ana")
    run("retention", "--flag", slug, "loans", "--by", "ana")
    assert people.rows("SELECT class_no FROM project WHERE id = %s", people.id) == [(3,)]
    with pytest.raises(CommandError, match="no project"):
        run("retention", "--choose", "nope", "--class", 3, "--by", "ana")


def test_a_session_is_exported_by_command_and_that_is_recorded_with_recipient_and_purpose(case: Case, tmp_path: Path) -> None:
    case.send([*talk("s-1", 2), *talk("s-2", 2)])
    case.derive()
    seal(case, tmp_path / "log.key")
    ((key,),) = case.rows("SELECT key FROM session WHERE project_id = %s AND session_id = %s", case.id, b"s-1")
    folder = tmp_path / "export"
    given = ["--to", str(folder), "--project", case.row.slug, "--recipient", "a court", "--purpose", "Case 7"]
    assert f"{len(case.events('s-1'))} events" in run("export", *given, "--session", key)
    assert standalone.main([str(folder)], StringIO()) == 0
    assert (folder / f"sessions/{key}.html").exists() and not (folder / "csv").exists(), "pages, if nothing else is said"
    run("export", "--to", str(tmp_path / "less"), *given[2:], "--session", key, "--format", "csv", "--format", "otlp")
    assert {path.name for path in (tmp_path / "less").iterdir()} >= {"csv", "otlp"} and not (tmp_path / "less/index.html").exists()
    query = "SELECT count(*) FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0"
    assert [case.rows(query, case.id, said) for said in (b"a court", b"Case 7", b"nobody")] == [[(2,)], [(2,)], [(0,)]]
    with pytest.raises(CommandError, match="no session 'nope'"):
        call_command("export", "--to", str(tmp_path / "other"), *given[2:], "--session", "nope")
    with pytest.raises(CommandError, match="holds a finished export"):
        call_command("export", *given)


def test_rules_are_listed_added_and_removed_by_command(people: Case) -> None:
    slug = people.row.slug
    assert run("retention", "--rules", slug) == "otherwise the class of the key, else that of the project\n"
    run("retention", "--rule", slug, "env=a=b", "--class", 4, "--by", "ana")
    told = run("retention", "--rule", slug, "agent.risk=high", "--class", 3, "--place", 1, "--by", "ana")
    assert told.splitlines()[:2] == ["1  agent.risk=high  class 3", "2  env=a=b  class 4"]
    assert "env" not in run("retention", "--unrule", slug, "env=a=b", "--by", "ana")
    for given, words in (
        (("--rule", slug, "env", "--class", 4), "no name with a value"),
        (("--rule", slug, "env=dev"), "--class N"),
        (("--unrule", slug, "env=dev"), "not_found"),
        (("--rule", slug, "env=dev", "--class", 4, "--place", 9), "parameter_invalid"),
    ):
        with pytest.raises(CommandError, match=words):
            run("retention", *given, "--by", "ana")
    with pytest.raises(CommandError, match="--by"):
        run("retention", "--rule", slug, "env=dev", "--class", 4)


def test_a_class_with_a_clock_is_made_and_its_event_told_by_command(people: Case) -> None:
    slug = people.row.slug
    told = run("retention", "--make", "Accounts", "--days", 400, "--clock", "customer", "--basis", "Contract", "--by", "ana")
    assert "class 5 version 1  Accounts  400 days (and after the event of its customer)  in force  Contract" in told
    run("retention", "--tell", slug, "customer", "ACME", "--event", "account closed", "--at", "2026-03-01", "--by", "ana")
    run("retention", "--tell", slug, "customer", "ACME", "--event", "opened again", "--at", "none", "--by", "ana")
    query = "SELECT value, event, at::date::text FROM clock_event WHERE project_id = %s ORDER BY id"
    assert people.rows(query, people.id) == [("ACME", "account closed", "2026-03-01"), ("ACME", "opened again", None)]
    with pytest.raises(CommandError, match="--at"):
        run("retention", "--tell", slug, "customer", "ACME", "--event", "account closed", "--by", "ana")
    with pytest.raises(CommandError, match="parameter_invalid"):
        run("retention", "--make", "Nothing", "--days", 9, "--by", "ana")  # without a basis


def test_something_is_kept_longer_listed_and_given_up_by_command(people: Case) -> None:
    slug, why = people.row.slug, ("--reason", "Contract")
    run("retention", "--reclassify", slug, "customer_id=A=B", "agent=loans", "--class", 2, *why, "--by", "ana")
    (told,) = run("retention", "--reclassified", slug).splitlines()
    number = told.split()[1]
    assert told == f"reclassification {number}  class 2  agent=loans customer_id=A=B  by ana: Contract"
    for given, words in (
        (("--reclassify", slug, "customer_id=A", *why, "--by", "ana"), "--class N"),
        (("--reclassify", slug, "customer_id", "--class", 2, *why, "--by", "ana"), "no name with a value"),
        (("--reclassify", slug, "--class", 2, *why, "--by", "ana"), "scope_empty"),
        (("--reclassify", slug, "customer_id=A", "--class", 2, "--by", "ana"), "parameter_invalid"),
        (("--reclassify", slug, "customer_id=A", "--class", 2, *why), "--by"),
        (("--reclassify", "nope", "customer_id=A", "--class", 2, *why, "--by", "ana"), "no project"),
        (("--end", slug, number, *why, "--by", "ana"), "second_person"),
        (("--end", slug, "x", *why, "--by", "bob"), "no number"),
        (("--end", slug, 2**70, *why, "--by", "bob"), "not_found"),
    ):
        with pytest.raises(CommandError, match=words):
            run("retention", *given)
    assert run("retention", "--end", slug, number, "--reason", "mistaken", "--by", "bob") == f"{told}  ended by bob: mistaken\n"


def test_a_preview_by_command_counts_and_changes_nothing(people: Case) -> None:
    people.talk("s-1")
    people.derive()
    before = people.rows("SELECT * FROM retention_class ORDER BY 1, 2")
    told = run("retention", "--preview", people.class_no, "--days", 400)
    assert "3 events  1 sessions" in told and "not due that is due now: 1 buckets, 3 events, 1 sessions" in told
    assert "It would be in force at once." in told and people.rows("SELECT * FROM retention_class ORDER BY 1, 2") == before
    with pytest.raises(CommandError, match="below_floor"):
        run("retention", "--preview", 3, "--days", 100)
