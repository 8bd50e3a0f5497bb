"""Owns that a real PostgreSQL raises each check, that the command which it names ends it, and that the writer heeds it."""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.checks import run_checks
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from auditlog.errors import Problem
from auditlog.management.commands.serve import say_dangers
from auditlog.platform import embedded
from auditlog.platform.embedded import Embedded
from auditlog.store import connect as connecting
from auditlog.store import durability, partitions, server
from auditlog.store.connect import connect, writer_connection
from auditlog.store.durability import CHECKS, Finding
from auditlog.store.writer import Project, Writer
from tests.db.store.test_writer import span
from tests.unit.store.test_durability import ids

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)


class Admin:
    """The server's owner, who sets something for one test; all of it is taken back."""

    def __init__(self) -> None:
        # "local": with a standby that does not exist, every other commit waits for ever
        self.connection = connect("owner", autocommit=True, options="-c synchronous_commit=local")
        self.database = self.connection.info.dbname

    def run(self, statements: str) -> None:
        for statement in statements.format(db=self.database).split(";"):
            if statement.strip():
                self.connection.execute(statement)
        if "ALTER SYSTEM" in statements:
            self.reload()

    def reload(self) -> None:
        """Returns once a connection that is open has seen it; the signal reaches all of them at the same time."""
        before = self._loaded()
        while self._loaded() == before:
            self.connection.execute("SELECT pg_reload_conf()")
            time.sleep(0.02)

    def _loaded(self) -> Any:
        return self.connection.execute("SELECT pg_conf_load_time()").fetchone()

    def close(self) -> None:
        self.run('ALTER SYSTEM RESET ALL; ALTER DATABASE "{db}" RESET ALL')
        self.connection.close()


@pytest.fixture
def admin(migrated: None) -> Iterator[Admin]:
    admin = Admin()
    yield admin
    admin.close()


@pytest.fixture
def partition(owner: psycopg.Connection[Any]) -> str:
    bucket = partitions.bucket_at(secrets.randbelow(20_000) + 9_000, "month", NOW)
    partitions.ensure(owner, bucket)
    return f"event_{bucket.class_no}_{bucket.starts:%Y%m%d}"


SET = {
    "E001": "ALTER SYSTEM SET fsync = off",
    "E002": 'ALTER DATABASE "{db}" SET synchronous_commit = off',
    "E003": "ALTER DATABASE \"{db}\" SET synchronous_commit = local; ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
    "E004": "ALTER SYSTEM SET full_page_writes = off",
    "E006": "ALTER SYSTEM SET zero_damaged_pages = on",
    "E007": "ALTER SYSTEM SET ignore_checksum_failure = on",
    "E009": "ALTER TABLE {partition} SET UNLOGGED",
    "E010": 'ALTER DATABASE "{db}" SET default_transaction_read_only = on',
    "E012": 'ALTER DATABASE "{db}" SET synchronous_commit = off',
    "W006": 'ALTER DATABASE "{db}" SET synchronous_commit = local',
    "W007": "ALTER DATABASE \"{db}\" SET synchronous_commit = remote_write; ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
    "W010": 'ALTER DATABASE "{db}" SET idle_in_transaction_session_timeout = 0',
    "W011": "ALTER DATABASE \"{db}\" SET statement_timeout = '30s'",
    "W012": "ALTER SYSTEM SET autovacuum = off",
}
# What only a server started so has; W003 and W005 are said of each single one. wal_level=minimal goes with neither archive nor standby.
STARTED = (
    ({"data_sync_retry": "on", "ignore_invalid_pages": "on", "archive_mode": "on", "max_wal_size": "1GB",
      "max_locks_per_transaction": "64"}, {"E005", "E008", "W004", "W005", "W009", "W013"}),
    ({"wal_level": "minimal", "max_wal_senders": "0"}, {"W002", "W003", "W005"}),
)  # fmt: skip
PRETENDED = {"E011", "W001", "W008"}  # another version, another initdb, another system: tests/unit/store/test_durability.py


def test_every_check_is_seen_on_a_real_server_but_for_another_version_initdb_and_system() -> None:
    assert {check.number for check in CHECKS} == set(SET) | set.union(*(seen for _, seen in STARTED)) | {"E013"} | PRETENDED


@pytest.mark.parametrize("number", SET)
def test_a_check_is_raised_by_its_setting_and_ends_with_the_command_that_it_names(number: str, admin: Admin, partition: str) -> None:
    assert ids(server.ask()) == {"W003", "W005"}  # a single server without an archive: what `make run` starts has no error
    try:
        admin.run(SET[number].replace("{partition}", partition))
        (finding,) = (one for one in server.ask() if one.id == f"auditlog.{number}")
        assert number != "E009" or partition in finding.message
        admin.run(finding.hint)
        assert number not in ids(server.ask())
    finally:
        if number == "E009":
            admin.run(f"ALTER TABLE {partition} SET LOGGED")


def test_a_setting_of_the_ingest_role_is_found_though_the_owner_does_not_see_it(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.run(
        "CREATE ROLE auditlog_test_own LOGIN PASSWORD 'own' IN ROLE auditlog_ingest; "
        "ALTER ROLE auditlog_test_own SET synchronous_commit = off"
    )
    try:
        url = make_conninfo(connecting.url("owner"), user="auditlog_test_own", password="own")
        monkeypatch.setenv("AUDITLOG_INGEST_DATABASE_URL", url)
        (found,) = (one for one in server.ask() if one.error)
        assert (found.id, found.hint) == ("auditlog.E002", 'ALTER ROLE "auditlog_test_own" RESET synchronous_commit;')
        assert "E002" not in ids(durability.findings(server.look(admin.connection)))
    finally:
        admin.run("DROP ROLE auditlog_test_own")


@pytest.fixture
def other() -> Iterator[Embedded]:
    """A server of this test's own."""
    with tempfile.TemporaryDirectory(prefix="auditlog-settings-") as folder:
        Path(folder).chmod(0o711)
        made = Embedded(Path(folder) / "data")
        yield made
        made.stop()


def asked(url: str, database: str = embedded.DATABASE) -> list[Finding]:
    with psycopg.connect(url, dbname=database) as conn:
        return durability.findings(server.look(conn))


def test_what_a_server_was_made_or_started_with_is_found_and_the_command_line_is_named(
    other: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings, numbers in STARTED:
        monkeypatch.setattr(embedded, "SETTINGS", embedded.SETTINGS | settings)
        assert other.start()
        found = asked(other.url)
        assert ids(found) == numbers
        assert {one.hint[:9] for one in found if one.id in ("auditlog.E005", "auditlog.W002")} == {"Give `-c "}
        if "E005" in numbers:
            with psycopg.connect(other.url, autocommit=True) as conn:
                conn.execute("CREATE DATABASE letters ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
            assert "E013" in ids(asked(other.url, "letters"))
            other.stop()
        monkeypatch.undo()


# -- the writer


@pytest.fixture
def project() -> Project:
    return Project(secrets.randbelow(2**30), secrets.token_bytes(32), 1, "month")


def write(writer: Writer, project: Project, number: int = 1) -> None:
    writer.write(project, [span(number)], key_id=None, protocol=1, received_at=NOW)


def count(admin: Admin, project: Project) -> int:
    row = admin.connection.execute("SELECT count(*) FROM event WHERE project_id = %s", (project.project_id,)).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.parametrize("number", ["E001", "E003", "E004", "E006", "E007"])
def test_nothing_is_acknowledged_from_the_moment_a_setting_loses_it_until_it_is_mended(number: str, admin: Admin, project: Project) -> None:
    *before, change = SET[number].split("; ")  # a setting of the database itself reaches only connections that are opened after it
    admin.run("; ".join(before))
    writer = Writer(writer_connection)
    write(writer, project)
    admin.run(change)
    assert not writer.alive()
    with pytest.raises(Problem) as refused:
        write(writer, project, 2)
    assert (refused.value.code, refused.value.kind.http, refused.value.detail) == ("store_unsafe", 503, {"checks": [f"auditlog.{number}"]})
    assert f"(auditlog.{number})" in refused.value.message and "AUDITLOG_UNSAFE_DATABASE=1" in refused.value.message
    assert count(admin, project) == 1
    admin.run("ALTER SYSTEM RESET ALL")
    assert writer.alive()
    write(writer, project, 2)
    assert count(admin, project) == 2
    writer.close()


def test_a_table_that_a_crash_would_empty_is_refused_by_a_new_connection(admin: Admin, partition: str, project: Project) -> None:
    writer = Writer(writer_connection)
    admin.run(f"ALTER TABLE {partition} SET UNLOGGED")
    try:
        with pytest.raises(Problem, match=f"E009.*ALTER TABLE {partition} SET LOGGED"):
            write(writer, project)
    finally:
        admin.run(f"ALTER TABLE {partition} SET LOGGED")
    write(writer, project)
    writer.close()


def test_an_open_connection_looks_at_everything_once_a_minute(
    admin: Admin, partition: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(writer_connection)
    write(writer, project)
    admin.run(f"ALTER TABLE {partition} SET UNLOGGED")
    try:
        write(writer, project, 2)
        monkeypatch.setattr("auditlog.store.writer._LOOK_EVERY", -1.0)
        with pytest.raises(Problem, match="E009"):
            write(writer, project, 3)
    finally:
        admin.run(f"ALTER TABLE {partition} SET LOGGED")
        writer.close()


def test_told_to_the_writer_stores_all_the_same_and_says_so_in_the_log(
    admin: Admin, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    admin.run(SET["E001"])
    writer = Writer(writer_connection, anyway=True)
    write(writer, project)
    assert writer.alive() and count(admin, project) == 1
    (line,) = (record for record in caplog.records if record.message == "store.unsafe_database")
    assert line.checks == ["auditlog.E001"]  # type: ignore[attr-defined]
    writer.close()


# -- what is said to operators


def checked() -> dict[str | None, Any]:
    return {message.id: message for message in run_checks(databases=["default"]) if str(message.id).startswith("auditlog.")}


def test_the_command_check_says_each_with_its_number_and_fix(admin: Admin) -> None:
    assert set(checked()) == {"auditlog.W003", "auditlog.W005"}
    assert not any(message.is_serious() for message in checked().values())
    admin.run(SET["E001"])
    found = checked()["auditlog.E001"]
    assert found.is_serious() and found.msg.startswith("fsync is off: ")
    assert found.hint == "ALTER SYSTEM SET fsync = 'on'; SELECT pg_reload_conf();"


def test_a_start_says_what_is_wrong_and_whether_anything_is_stored(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not say_dangers() and capsys.readouterr().err == ""
    admin.run(SET["E002"])
    assert not say_dangers()  # mended by the writer: said, and stored
    assert capsys.readouterr().err.startswith("auditlog.E002: synchronous_commit is off")
    admin.run(SET["E001"])
    assert say_dangers()
    told = capsys.readouterr().err
    assert "auditlog.E001: fsync is off" in told and "SELECT pg_reload_conf();" in told and "answered 503 and not stored" in told
    monkeypatch.setenv("AUDITLOG_UNSAFE_DATABASE", "1")
    assert not say_dangers() and "stored all the same" in capsys.readouterr().err


def test_who_allowed_an_unsafe_database_is_warned_and_not_stopped(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.run(SET["E001"])
    monkeypatch.setenv("AUDITLOG_UNSAFE_DATABASE", "1")
    assert not checked()["auditlog.E001"].is_serious()


def test_a_database_that_does_not_let_a_role_in_is_an_error_of_its_own(migrated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_INGEST_DATABASE_URL", make_conninfo(connecting.url("owner"), user="nobody_of_this_name", password="x"))
    (message,) = checked().values()
    assert message.id == "auditlog.E000" and message.is_serious() and re.search("manage.py setup", str(message.hint))


def test_nothing_is_asked_where_no_database_is_named() -> None:
    assert not [message for message in run_checks() if str(message.id).startswith("auditlog.")]


def test_the_url_of_these_tests_names_a_database() -> None:
    """What the statements above change is the database of this run and no other."""
    assert str(conninfo_to_dict(connecting.url("owner"))["dbname"]).startswith("test_auditlog_")
