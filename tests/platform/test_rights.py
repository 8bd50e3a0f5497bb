"""Owns that each database role can do its work and no more, and that roles with a URL of their own can log in."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from auditlog.models import Project
from auditlog.platform import first_run, rights
from auditlog.store import connect

LOGIN = "auditlog_test_login"


@pytest.fixture
def login(transactional_db: None) -> Iterator[str]:
    url = make_conninfo(connect.url("owner"), user=LOGIN, password='it\'s a "password" of 100%')
    yield url
    with connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {LOGIN}")
        cursor.execute(f"DROP ROLE {LOGIN}")


def test_a_role_with_a_url_of_its_own_can_log_in_and_has_its_rights(login: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_INGEST_DATABASE_URL", login)
    assert rights.logins() == [LOGIN]
    with connect.connect("ingest") as ours:
        assert ours.execute("SELECT current_user").fetchone() == (LOGIN,)
        assert ours.execute("SELECT count(*) FROM api_key").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ours.execute("DELETE FROM event")
    assert rights.logins() == []  # it works: left alone


@pytest.mark.parametrize("role", ["ingest", "web", "derive", "sealer"])
@pytest.mark.parametrize("table", ["event", "content", "batch", "part"])
@pytest.mark.django_db
def test_no_process_that_serves_may_change_or_delete_evidence(role: str, table: str) -> None:
    with connection.cursor() as cursor:
        for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
            cursor.execute("SELECT has_table_privilege(%s, %s, %s)", [f"auditlog_{role}", table, privilege])
            assert cursor.fetchone() == (False,), privilege


@pytest.mark.django_db
def test_the_sealer_sees_no_event_and_no_secret() -> None:
    with connection.cursor() as cursor:
        for table in ("event", "content", "project", "api_key", "auth_user"):
            cursor.execute("SELECT has_table_privilege('auditlog_sealer', %s, 'SELECT')", [table])
            assert cursor.fetchone() == (False,), table


@pytest.mark.parametrize("role", ["ingest", "web", "derive", "sealer"])
@pytest.mark.django_db
def test_no_process_that_serves_may_take_away_the_secret_by_which_evidence_is_found(role: str) -> None:
    with connection.cursor() as cursor:
        for privilege in ("DELETE", "TRUNCATE"):
            cursor.execute("SELECT has_table_privilege(%s, 'project', %s)", [f"auditlog_{role}", privilege])
            assert cursor.fetchone() == (False,), privilege
        for column in ("id", "secret_wrapped", "class_no", "period"):
            cursor.execute("SELECT has_column_privilege(%s, 'project', %s, 'UPDATE')", [f"auditlog_{role}", column])
            assert cursor.fetchone() == (False,), column


@pytest.mark.django_db
def test_of_a_project_people_may_change_its_names_and_whether_it_asks_for_a_purpose() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'project'::regclass AND attnum > 0 AND NOT attisdropped")
        columns = [name for (name,) in cursor.fetchall()]
        cursor.execute("SELECT c FROM unnest(%s::text[]) c WHERE has_column_privilege('auditlog_web', 'project', c, 'UPDATE')", [columns])
        assert {name for (name,) in cursor.fetchall()} == {"name", "slug", "ask_purpose"}


@pytest.mark.django_db
def test_pages_may_not_create_schemas_once_the_broker_is_installed() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_database_privilege('auditlog_web', current_database(), 'CREATE')")
        assert cursor.fetchone() == (False,)
        cursor.execute("SELECT to_regclass('pgmq.meta') IS NOT NULL")
        assert cursor.fetchone() == (True,)


@pytest.mark.django_db(transaction=True)
def test_the_first_start_makes_one_project_and_the_second_none() -> None:
    assert first_run.ensure()
    assert not first_run.ensure()
    assert Project.objects.count() == 1
    assert len(first_run.open_buckets()) <= 3
    assert first_run.open_buckets() == []


@pytest.mark.django_db
def test_rights_may_be_given_again() -> None:
    rights.apply("default")
    rights.apply("default")
