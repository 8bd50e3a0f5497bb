"""Owns the checks of a server's settings as a pure function: which values are wrong, and what is to be run where they come from."""

from __future__ import annotations

import re

import pytest

from auditlog.store import durability
from auditlog.store.durability import CHECKS, ERROR, REFUSED, WEB, Fact, Facts

GOOD = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_sync_retry": "off", "zero_damaged_pages": "off",
    "ignore_checksum_failure": "off", "ignore_invalid_pages": "off", "unlogged": "", "transaction_read_only": "off", "in_recovery": "off",
    "default_transaction_read_only": "off", "server_version_num": "180001", f"{WEB}synchronous_commit": "on", "data_checksums": "on",
    "wal_level": "replica", "archive_mode": "on", "archive_command": "cp", "archive_library": "", "synchronous_standby_names": "one",
    "wal_sync_method": "fdatasync", "platform": "other", "max_wal_size": "4096", "idle_in_transaction_session_timeout": "600000",
    "statement_timeout": "0", "autovacuum": "on", "max_locks_per_transaction": "256", "server_encoding": "UTF8",
}  # fmt: skip

# Each check with the smallest change that raises it, and nothing else.
CASES = {
    "E001": {"fsync": "off"},
    "E002": {"synchronous_commit": "off"},
    "E003": {"synchronous_commit": "local"},
    "E004": {"full_page_writes": "off"},
    "E005": {"data_sync_retry": "on"},
    "E006": {"zero_damaged_pages": "on"},
    "E007": {"ignore_checksum_failure": "on"},
    "E008": {"ignore_invalid_pages": "on"},
    "E009": {"unlogged": "batch, part"},
    "E010": {"transaction_read_only": "on"},
    "E011": {"server_version_num": "140012"},
    "E012": {f"{WEB}synchronous_commit": "off"},
    "E013": {"server_encoding": "SQL_ASCII"},
    "W001": {"data_checksums": "off"},
    "W002": {"wal_level": "minimal"},
    "W003": {"archive_mode": "off"},
    "W004": {"archive_command": ""},
    "W005": {"synchronous_standby_names": ""},
    "W006": {"synchronous_commit": "local", "synchronous_standby_names": ""},
    "W007": {"synchronous_commit": "remote_write"},
    "W008": {"platform": "darwin"},
    "W009": {"max_wal_size": "1024"},
    "W010": {"idle_in_transaction_session_timeout": "0"},
    "W011": {"statement_timeout": "30000"},
    "W012": {"autovacuum": "off"},
    "W013": {"max_locks_per_transaction": "64"},
}


def facts(**changed: str) -> Facts:
    return {name: Fact(value) for name, value in (GOOD | changed).items()}


def ids(found: list[durability.Finding]) -> set[str]:
    return {finding.id.removeprefix("auditlog.") for finding in found}


def test_there_is_a_case_for_every_check_and_no_number_twice() -> None:
    assert sorted(CASES) == sorted(check.number for check in CHECKS)


def test_nothing_is_said_of_a_server_that_is_as_it_should_be() -> None:
    assert durability.findings(facts()) == []


@pytest.mark.parametrize("number", CASES)
def test_each_check_is_raised_by_its_setting_alone_and_names_setting_value_and_a_way_out(number: str) -> None:
    found = durability.findings(facts(**CASES[number]))
    assert ids(found) - {"W005"} == {number} - {"W005"} and number in ids(found)
    (finding,) = (one for one in found if one.id == f"auditlog.{number}")
    setting, value = next(iter(CASES[number].items()))
    if setting not in ("platform", "archive_command"):  # what is judged there is another setting, in their light
        assert finding.message.startswith(f"{setting} is {value or 'empty'}: ")
    assert re.search(r"ALTER (SYSTEM|TABLE) |pg_checksums|pg_upgrade|createdb|restart it", finding.hint)


def test_ingest_refuses_on_errors_but_not_on_what_it_mends_itself_or_what_is_not_its_own() -> None:
    errors = {check.id for check in CHECKS if check.number.startswith(ERROR)}
    assert errors - REFUSED == {"auditlog.E002", "auditlog.E012"} and errors > REFUSED
    found = durability.findings(facts(**CASES["E001"], **CASES["E002"], **CASES["W003"]))
    assert ids(durability.refused(found)) == {"E001"}


@pytest.mark.parametrize("source, context, run", [
    ("configuration file", "sighup", "ALTER SYSTEM SET synchronous_commit = 'on'; SELECT pg_reload_conf();"),
    ("default", "postmaster", "ALTER SYSTEM SET synchronous_commit = 'on'; then restart PostgreSQL."),
    ("user", "user", 'ALTER ROLE "me" RESET synchronous_commit;'),
    ("database", "user", 'ALTER DATABASE "trail" RESET synchronous_commit;'),
    ("database user", "user", 'ALTER ROLE "me" IN DATABASE "trail" RESET synchronous_commit;'),
    ("command line", "user",
     "Give `-c synchronous_commit=on` where PostgreSQL is started with `-c synchronous_commit=off`, and restart it."),
    ("client", "user", "Take synchronous_commit out of the `options` of this role's URL and out of PGOPTIONS, and restart the service."),
])  # fmt: skip
def test_what_is_to_be_run_follows_from_where_the_value_comes_from(source: str, context: str, run: str) -> None:
    (found,) = durability.findings(dict(facts()) | {"synchronous_commit": Fact("off", source, context, "me", "trail")})
    assert found.hint == run
    (found,) = durability.findings(dict(facts()) | {f"{WEB}synchronous_commit": Fact("off", source, context, "me", "trail")})
    assert found.hint == run


def test_a_setting_that_a_role_may_not_see_or_a_version_does_not_have_is_not_judged() -> None:
    assert durability.findings({}) == []


@pytest.mark.parametrize("platform, method, wrong", [
    ("darwin", "open_datasync", True), ("darwin", "fsync_writethrough", False), ("windows", "open_datasync", True),
    ("windows", "fsync", False), ("other", "open_datasync", False),
])  # fmt: skip
def test_a_flush_that_stays_in_the_drive_is_named_where_the_system_has_one(platform: str, method: str, wrong: bool) -> None:
    assert ids(durability.findings(facts(platform=platform, wal_sync_method=method))) == ({"W008"} if wrong else set())


def test_a_standby_is_left_for_its_primary_and_a_primary_that_only_reads_is_set_right() -> None:
    (standby,) = durability.findings(facts(transaction_read_only="on", in_recovery="on"))
    assert "target_session_attrs=read-write" in standby.hint
    (primary,) = durability.findings(facts(transaction_read_only="on"))
    assert primary.hint.startswith("ALTER SYSTEM SET default_transaction_read_only = 'off';")
