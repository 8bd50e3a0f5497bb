"""Owns that docs/operate/scale.md says where each table lies, which exceptions there are, and what was measured."""

from __future__ import annotations

import re
from typing import Final

from auditlog.platform.citus import PLAN, Distributed, Local, Reference
from tests.db.store.test_citus import FOREIGN_KEYS, JOINS
from tests.pages import ROOT, code, rows

PAGE: Final = (ROOT / "docs" / "operate" / "scale.md").read_text()
BENCH: Final = (ROOT / "docs" / "bench" / "README.md").read_text()


def test_the_page_places_each_table_that_does_not_stay_on_the_coordinator() -> None:
    placed: dict[str, Distributed | Reference | Local] = {}
    for tables, column, beside in rows(PAGE, "| table | lies by | beside |"):
        for table in code(tables):
            named = code(column)
            placed[table] = Distributed(named[0], *code(beside)) if named else Reference("")
    assert {table: place if isinstance(place, Distributed) else None for table, place in placed.items()} == {
        table: place if isinstance(place, Distributed) else None for table, place in PLAN.items() if not isinstance(place, Local)
    }


def test_the_page_names_each_known_exception() -> None:
    told = [what for what, _ in rows(PAGE, "| what | why it stands in the way |")]
    for source, target in FOREIGN_KEYS:
        assert f"`{source}` → `{target}`, a foreign key" in told
    for _, table, other in JOINS:
        assert any(f"joins `{table}` with `{other}`" in what for what in told)


def test_what_the_page_calls_measured_stands_among_the_measurements() -> None:
    work = {
        name: (service, database)
        for name, service, database, _ in rows(PAGE, "| work | in the service | in PostgreSQL | can be spread over processes |")
    }
    sent = {size: row for size, *row in rows(
        BENCH, "| spans a request | service | PostgreSQL | all | at most | plain COPY | ratio | at most | spans/s | at least |"
    )}  # fmt: skip
    ingest = {size: (service, database) for size, (service, database, *_) in sent.items()}
    derive = {name: (own, database) for name, own, database, _ in rows(
        BENCH, "| CPU milliseconds per 1,000 spans | pass | PostgreSQL | all |"
    )}  # fmt: skip
    assert work == {
        "ingest, 512 spans a request": ingest["512"],
        "ingest, 64 spans a request": ingest["64"],
        "background pass, all of it": derive["all three stages"],
        "of that, until a session is found by identity": derive["of it binding, which goes first"],
    }
    speeds = {size: row[-2] for size, row in sent.items()}
    assert f"{speeds['512']} spans a second acknowledged at 512" in PAGE.replace("\n", " ") and f"{speeds['64']} at 64" in PAGE
    disk = [float(compact) for _, compact, *_ in rows(BENCH, "| model calls | compact JSON | Python's separators | target |")]
    assert "{:.0f}, {:.0f} and {:.0f} KiB".format(*disk) in PAGE


def test_what_is_computed_from_the_table_fits_it() -> None:
    """Spans a second and core are a million microseconds by what one takes; the page rounds down."""
    for claimed, cost in ((1_830, 545), (12_900, 77), (9_900, 101), (7_400, 134), (47_600, 21), (6_200, 159)):
        assert f"{claimed:,}" in PAGE and 0.97 < claimed * cost / 1e6 <= 1.01
    (sessions, gib) = re.findall(r"([\d,]+) sessions of 30 calls take (\d+) GiB", PAGE)[0]
    assert round(int(sessions.replace(",", "")) * 188.6 / 1024**2) == int(gib)
