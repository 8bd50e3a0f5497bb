"""Owns that docs/operate/postgresql.md lists the checks that there are, and that docker-compose.yml's PostgreSQL passes them."""

from __future__ import annotations

import itertools
import re
from typing import Final

from auditlog import checks
from auditlog.store import durability
from auditlog.store.durability import CHECKS, REFUSED, Fact
from tests.pages import ROOT, code, rows, section
from tests.shape.test_compose import SERVICES
from tests.unit.store.test_durability import GOOD, ids

PAGE: Final = ROOT / "docs" / "operate" / "postgresql.md"
HEADING: Final = "| number | setting | wrong | why |"
# What PostgreSQL 18 has where nothing is said, of the settings that are checked and not as they should be (its manual).
DEFAULTS: Final = {
    "archive_mode": "off", "synchronous_standby_names": "", "max_wal_size": "1024", "idle_in_transaction_session_timeout": "0",
    "max_locks_per_transaction": "64",
}  # fmt: skip


def listed(title: str) -> dict[str, list[str]]:
    return {code(number)[0]: code(setting) for number, setting, *_ in rows(section(PAGE, title), HEADING)}


def test_the_page_lists_each_check_with_its_setting_and_the_code_has_each_that_it_lists() -> None:
    errors, warnings = listed("Errors"), listed("Warnings")
    assert list(errors) == [checks.SILENT, *(check.id for check in CHECKS if check.number.startswith("E"))]
    assert list(warnings) == [check.id for check in CHECKS if check.number.startswith("W")]
    for check in CHECKS:
        named = (errors | warnings)[check.id]
        assert check.id in ("auditlog.E009", "auditlog.W004") or named == [check.setting.removeprefix(durability.WEB)]


def test_the_page_names_the_errors_on_which_ingest_goes_on() -> None:
    said = next(part for part in section(PAGE, "While there is an error").split("\n\n") if part.startswith("Two errors do not stop ingest"))
    assert set(re.findall(r"auditlog\.E\d+", said)) == {check.id for check in CHECKS if check.number.startswith("E")} - REFUSED


def test_the_page_names_what_each_transaction_asks() -> None:
    said = next(part for part in section(PAGE, "While there is an error").split("\n\n") if part.startswith("When it is asked"))
    asked = {check.number for check in CHECKS if check.id in REFUSED and f"current_setting('{check.setting}')" in durability.SAFE}
    assert set(re.findall(r"E\d+", said)) == asked


def in_base_units(value: str) -> str:
    """As pg_settings has it: megabytes and milliseconds."""
    number, unit = re.fullmatch(r"(\d+)(GB|min)", value).groups() if re.fullmatch(r"\d+(GB|min)", value) else (value, "")  # type: ignore[union-attr]
    return str(int(number) * {"GB": 1024, "min": 60_000}[unit]) if unit else value


def test_the_postgresql_of_docker_compose_has_no_error_and_the_warnings_of_a_single_server() -> None:
    command = SERVICES["postgres"]["command"]
    given = dict(part.split("=", 1) for flag, part in itertools.pairwise(command) if flag == "-c")
    told = GOOD | DEFAULTS | {name: in_base_units(value) for name, value in given.items()}
    if "--data-checksums" not in SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]:
        told["data_checksums"] = "off"
    found = durability.findings({name: Fact(value) for name, value in told.items()})
    assert ids(found) == {"W003", "W005"}


def test_the_settings_of_docker_compose_are_what_keeps_it_so() -> None:
    """The test above can see: without what is given there, its warnings are more."""
    found = durability.findings({name: Fact(value) for name, value in (GOOD | DEFAULTS).items()})
    assert ids(found) == {"W003", "W005", "W009", "W010", "W013"}
