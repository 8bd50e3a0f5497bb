"""Owns that the benchmark of ingest runs through, counts what it says, and ends where it would measure something else."""

from __future__ import annotations

from typing import Any

import pytest

from bench import clients, counted, floor, ingest, seeded
from bench.generate import Fresh, bodies
from bench.ingest import Size, Way
from tests.pages import ROOT
from tests.service import Service

WAYS = (Way(64, encoding="zstd"), Way(64, transport="gRPC", encoding="gzip"), Way(form="OpenInference", spaced=True))
STORED = ("SELECT count(*) FROM content", "SELECT count(*) FROM event WHERE batch_no = 0")
SIZE = Size(sessions=3, rounds=1, stored=300, derived=3, seconds=0.1)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "AFTERWARDS", 0.05)
    monkeypatch.setattr(ingest, "WARM", 3)


@pytest.fixture(scope="module")
def fresh() -> Fresh:
    """Loads of sessions that the tool itself does not send here."""
    fresh = Fresh()
    fresh(1_000)
    return fresh


def one(service: Service, query: str) -> Any:
    with service.connect() as conn:
        row = conn.execute(query).fetchone()
    assert row
    return row[0]


def test_every_way_is_sent_and_every_table_is_printed(whole: Service) -> None:
    found = ingest.measure(whole, SIZE, WAYS)
    for way, each in zip(WAYS, found["runs"], strict=True):
        assert Way(*(each[name] for name in Way._fields)) == way
        (told,) = each["rounds"]
        assert told["spans"] > 30 and told["wal_bytes"] > 1000 and told["pss_bytes"] > 2**20
        assert min(told["service"], told["postgres"], told["ratio_empty"], told["ratio_large"], told["copy_large_wal_bytes"]) > 0
    assert sum(each["rounds"][0]["disk_bytes"] for each in found["runs"]) > 1000  # one alone may find room that was made ahead
    assert one(whole, "SHOW autovacuum") == "on"
    text = ingest.tables(found)
    for heading in ("| spans a request | service |", "| CPU milliseconds per 1,000 spans |"):
        (line,) = [line for line in text.splitlines() if line.startswith(heading)]
        assert f"\n{line}\n" in (ROOT / "docs" / "bench" / "README.md").read_text()  # so that what it prints can be put there
    assert "| 64, zstd |" in text and "| 64, gRPC, gzip |" in text and "| 512, OpenInference, Python's separators |" in text
    assert text.count("at most") == 4 and "| of it binding, which goes first |" in text and "| otlp-grpc | 1 |" in text
    whole.settle()


def test_as_much_is_stored_before_as_was_asked_for_and_none_of_it_is_of_a_batch(whole: Service, fresh: Fresh) -> None:
    clients.post(whole, list(bodies(fresh(1))))
    before = [one(whole, query) for query in STORED]
    with whole.connect() as conn:
        assert seeded.fill(conn, 310) == one(whole, "SELECT bucket FROM part ORDER BY batch_no DESC LIMIT 1")
    assert [one(whole, query) for query in STORED] == [before[0] + 310, before[1] + 160]


def test_the_floor_copies_all_rows_of_the_run_and_no_other(whole: Service, fresh: Fresh) -> None:
    clients.post(whole, list(bodies(fresh(2))))
    after, bucket = ingest.newest(whole), one(whole, "SELECT bucket FROM part ORDER BY batch_no DESC LIMIT 1")
    events, content = (one(whole, f"SELECT count(*) FROM {table}") for table in ("event", "content"))
    clients.post(whole, list(bodies(fresh(3))))
    more = [one(whole, f"SELECT count(*) FROM {table}") for table in ("event", "content")]
    assert more[0] > events and more[1] > content
    floor.measure(whole, bucket, after)
    assert one(whole, "SELECT count(*) FROM event") == more[0] + (more[0] - events)
    assert one(whole, "SELECT count(*) FROM content") == more[1] + (more[1] - content)


def test_what_is_not_stored_as_new_ends_the_run(whole: Service, fresh: Fresh) -> None:
    requests = list(bodies(fresh(2, batch=64)))
    bucket = one(whole, "SELECT bucket FROM part ORDER BY batch_no DESC LIMIT 1")
    ingest.run(whole, Way(64), requests, bucket)
    with pytest.raises(SystemExit, match="spans were sent and 0 events stored"):
        ingest.run(whole, Way(64), requests, bucket)


@pytest.mark.parametrize("send", [clients.post, clients.call])
def test_a_refusal_ends_the_run(whole: Service, send: Any) -> None:
    with pytest.raises(SystemExit, match=r"refused: .*(400|INVALID_ARGUMENT)"):
        send(whole, [(1, b"\xff\xff")] * 3)
