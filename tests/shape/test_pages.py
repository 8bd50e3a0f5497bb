"""Owns that the pages for people lead somewhere, and that what they say and no test runs fits the code: installs, Collector, ports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditlog import conf
from auditlog.api.shapes import STATUS
from auditlog.errors import CODES
from auditlog.ingest.auth import key_text
from auditlog.ingest.receive import OTLP_PATHS
from auditlog.metrics import METRICS
from auditlog.platform.exposition import name_of as name_of_metric
from auditlog.platform.roster import LISTENERS
from tests.pages import QUICKSTART, README, ROOT, blocks, code, prose, rows, section

CONCEPTS = ROOT / "docs" / "concepts.md"
PAGES = [README, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEFAULTS = {name: conf.SETTINGS[name].default for name in LISTENERS}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The names under which headings are linked, as GitHub makes them: small letters, hyphens for blanks, no other signs."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_anchors_are_made_as_the_pages_use_them() -> None:
    assert {"rest-with-curl", "if-nothing-shows", "opentelemetry-collector"} <= anchors(QUICKSTART)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_something(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{name_of(page)} links {target}, which is not there"
        assert not anchor or anchor in anchors(place), f"{name_of(page)} links {target}, which has no such heading"


def test_the_readme_links_the_quickstart_and_each_page_of_the_reference() -> None:
    linked = set(re.findall(r"\]\(([^)#\s]+)", README.read_text()))
    assert {"docs/quickstart.md", "docs/concepts.md"} | {name_of(page) for page in (ROOT / "docs/reference").glob("*.md")} <= linked


def test_the_quickstart_installs_what_its_code_was_run_with() -> None:
    (pip,) = (b.text for b in blocks(section(QUICKSTART, "Python")) if "pip install" in b.text)
    named = [name for name in pip.split() if name.startswith("opentelemetry-")]
    grpc = [name for name in code(prose(section(QUICKSTART, "Python"))) if re.fullmatch("opentelemetry-exporter-[a-z-]+-grpc", name)]
    tested = (ROOT / "requirements-dev.in").read_text().splitlines()
    assert len(named) == 2 and len(grpc) == 1 and set(named + grpc) <= set(tested)
    (npm,) = (b.text for b in blocks(section(QUICKSTART, "JavaScript")) if "npm install" in b.text)
    pinned = json.loads((ROOT / "tests/javascript/package.json").read_text())["dependencies"]
    assert sorted(npm.split()[2:]) == sorted(f"{name}@{version}" for name, version in pinned.items())


def test_the_lock_of_the_javascript_packages_pins_hashes_and_no_addresses() -> None:
    packages = json.loads((ROOT / "tests/javascript/package-lock.json").read_text())["packages"]
    pinned = json.loads((ROOT / "tests/javascript/package.json").read_text())["dependencies"]
    assert packages.pop("")["dependencies"] == pinned
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages.values()) and packages


def collector() -> dict[str, Any]:
    (block,) = (block for block in blocks(section(QUICKSTART, "OpenTelemetry Collector")) if block.file == "collector.yaml")
    found: dict[str, Any] = yaml.safe_load(block.text)
    return found


def test_the_collector_sends_to_where_the_service_listens_with_a_key_that_is_read() -> None:
    (exporter,) = collector()["exporters"].values()
    assert exporter["endpoint"] == f"http://{DEFAULTS['AUDITLOG_OTLP_HTTP']}"
    assert key_text(exporter["headers"].get) == "${env:AUDITLOG_INGEST_KEY}"
    assert '"AUDITLOG_INGEST_KEY"' in section(QUICKSTART, "Keys and addresses")


def test_the_collector_keeps_what_it_has_on_disk_and_never_stops_trying() -> None:
    config = collector()
    (exporter,) = config["exporters"].values()
    assert exporter["retry_on_failure"] == {"enabled": True, "max_elapsed_time": "0s"}
    queue = exporter["sending_queue"]
    assert queue["enabled"] and queue["storage"] in config["extensions"] and config["service"]["extensions"] == [queue["storage"]]
    assert config["extensions"][queue["storage"]]["fsync"] is True


def test_the_collectors_pipelines_are_the_signals_that_are_stored_and_nothing_stands_between() -> None:
    config = collector()
    pipelines = config["service"]["pipelines"]
    assert {f"/v1/{signal}" for signal in pipelines} == set(OTLP_PATHS)
    for pipeline in pipelines.values():
        assert pipeline == {"receivers": list(config["receivers"]), "exporters": list(config["exporters"])}


def test_the_collector_leaves_the_services_ports_free_and_the_agent_is_sent_to_the_collectors() -> None:
    protocols = collector()["receivers"]["otlp"]["protocols"]
    taken = {address.rpartition(":")[2] for address in DEFAULTS.values()}
    assert taken.isdisjoint(listen["endpoint"].rpartition(":")[2] for listen in protocols.values())
    assert f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://{protocols['http']['endpoint']}\n" in section(QUICKSTART, "OpenTelemetry Collector")


@pytest.mark.parametrize("page", [README, QUICKSTART], ids=name_of)
def test_every_address_on_the_page_is_one_where_something_listens(page: Path) -> None:
    named = set(re.findall(r"127\.0\.0\.1:\d+", page.read_text()))
    listening = set(DEFAULTS.values()) | {listen["endpoint"] for listen in collector()["receivers"]["otlp"]["protocols"].values()}
    assert named and named <= listening


def test_the_quickstart_names_refusals_by_the_status_that_they_have() -> None:
    table = rows(section(QUICKSTART, "If nothing shows"), "| you see | why, and what to do |")
    named = {name: int(seen[:3]) for seen, _ in table if re.match(r"\d{3} `", seen) for name in code(seen)}
    assert named.keys() == {"key_missing", "key_unknown", "scope_missing", "signal_unsupported"}
    assert {name: CODES[name].http for name in named} == named


def named_by_the_code() -> set[str]:
    """What a sender or reader may be told: codes of refusals, of gaps, fields of the status, metrics, and events in logs of the pass."""
    written = "".join((ROOT / f"auditlog/reconstruct/{name}.py").read_text() for name in ("gaps", "trail"))
    gaps = re.findall(r'(?:gap\(\s*|yield\s*\(?\s*)"(\w+)"', written)
    return {*CODES, *gaps, *STATUS["properties"], *map(name_of_metric, METRICS.values())}


def test_concepts_names_gaps_codes_and_numbers_that_exist() -> None:
    said = section(CONCEPTS, "What is lost when")
    words = {word for word in code(prose(said)) if re.fullmatch("[a-z]+(_[a-z]+)+|internal|quarantined", word)}
    elsewhere = {"partial_success", "sending_queue"}  # of OTLP and of the Collector
    assert words - elsewhere <= named_by_the_code()
    assert {"result_missing", "attributes_dropped", "failed_batches", "quarantined", "internal"} <= words
    commands = {line.split()[1] for line in code(said) if line.startswith("manage.py ")}
    assert commands and all((ROOT / f"auditlog/management/commands/{name}.py").exists() for name in commands)


def test_the_quickstart_names_gaps_that_exist() -> None:
    said = set(re.findall(r"gaps? ((?:`\w+`(?:, )?)+)", QUICKSTART.read_text()))
    named = {name for some in said for name in code(some)}
    assert "tools_missing" in named and named <= named_by_the_code()


def test_every_row_of_what_is_lost_when_says_what_is_lost_how_one_notices_and_what_to_do() -> None:
    said = section(CONCEPTS, "What is lost when")
    heading = "| when | lost, and kept | noticed by | what to do |"
    tables = re.findall(rf"^{re.escape(heading)}\n\|[-|]+\n((?:\|.*\n)+)", said, re.M)
    assert len(tables) == 4, "in the agent, on the way, in the service, after the answer"
    for table in tables:
        for line in table.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 4 and all(cells), line
