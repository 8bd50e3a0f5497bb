"""Owns the checks of how a file of OTLP/JSON is split, and of what is told of each document that cannot be read."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
import zstandard

from auditlog.errors import Problem
from auditlog.ingest import files
from auditlog.ingest.files import Batch, Importer, Trouble
from auditlog.store.writer import Project, Written

LIMIT = 4096


def spans(*names: str, indent: int | None = None) -> bytes:
    made = [{"traceId": "01" * 16, "spanId": f"{n:016x}", "name": name} for n, name in enumerate(names, 1)]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": made}]}]}, indent=indent).encode() + b"\n"


LOGS = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}\n'
GOOD = spans("a") + b"\n" + LOGS + spans("b", "c", indent=2) + spans("d")
NAMES = ["a", None, "b", "c", "d"]


class Store:
    """Keeps what it is given; refuses first as often as it is told to."""

    def __init__(self, refuse: int = 0, code: str = "store_unavailable") -> None:
        self.items: list[Any] = []
        self.refuse, self.code = refuse, code

    def write(self, project: Project, batch: Any, /, *, key_id: Any, protocol: int, received_at: Any) -> Written:
        if self.refuse:
            self.refuse -= 1
            raise Problem(self.code, "away")
        self.items += batch
        return Written(1, bytes(32), len(batch), len(batch), 0)


class Run:
    def __init__(self, data: bytes, store: Store | None = None, after: int = 0) -> None:
        self.batches: list[Batch] = []
        self.troubles: list[Trouble] = []
        self.store = store or Store()
        self.waited: list[float] = []
        work = Importer(self.store, Project(1, bytes(32), 1, "month"), LIMIT, self.batches.append, self.troubles.append, self.waited.append)
        self.counts = work.counts
        work.file("f", io.BufferedReader(io.BytesIO(data)), after)

    @property
    def names(self) -> list[str | None]:
        return [getattr(item, "name", None) for item in self.store.items]

    @property
    def told(self) -> list[tuple[int, str]]:
        return [(one.line, one.code) for one in self.troubles]


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.compress, lambda data: zstandard.compress(data) * 1 + zstandard.compress(LOGS)]
)
def test_lines_and_documents_over_several_lines_are_read_plain_and_packed(pack: Any) -> None:
    run = Run(pack(GOOD))
    assert (run.names[:5], run.told) == (NAMES, [])


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"garbage\n", "body_undecodable"),
        (b'{"resourceSpans": nothing}\n', "body_undecodable"),
        (b'{"some":"json"}\n', "body_undecodable"),
        (b'{"resourceMetrics":[]}\n', "signal_unsupported"),
        (b'{"resourceSpans":[{"scopeSpans"\n', "body_truncated"),
        (b'{"resourceSpans":"' + b"x" * LIMIT + b'"}\n', "body_too_large"),
        (b"{" + b"\n " * LIMIT + b"\n", "body_too_large"),
    ],
)
def test_a_document_that_cannot_be_read_is_named_by_its_line_and_the_others_are_stored(bad: bytes, code: str) -> None:
    run = Run(spans("a") + bad + spans("b"))
    assert run.told[0] == (2, code) and {code for _, code in run.told[1:]} <= {"body_undecodable"}
    assert run.names == ["a", "b"] and run.counts.refused == len(run.told)


def test_an_item_that_cannot_be_read_is_named_by_its_line_and_kept_in_quarantine() -> None:
    run = Run(spans("a") + spans("b", "c").replace(b'"' + b"01" * 16 + b'"', b'"short"', 1))
    assert run.told == [(2, "trace_id_invalid")] and len(run.store.items) == 3
    assert (run.counts.quarantined, run.counts.refused, run.counts.stored) == (1, 0, 3)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_file_that_was_cut_off_is_no_success_and_what_came_before_is_stored(pack: Any) -> None:
    many = b"".join(spans(f"{n * 7919 % 100_003:x}") for n in range(9_000))
    run = Run(pack(many)[:-20])
    assert run.told[-1][1] == "compression_broken" and len(run.names) > 2_000


def test_it_goes_on_behind_a_line_and_each_batch_says_which_lines_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BATCH_ITEMS", 2)
    run = Run(GOOD)
    assert [(one.first, one.last) for one in run.batches] == [(1, 3), (4, 4), (run.batches[-1].first,) * 2]
    assert Run(GOOD, after=run.batches[0].last).names == ["b", "c", "d"]


def test_while_the_store_is_away_it_is_tried_again_and_otherwise_it_ends_where_it_is() -> None:
    run = Run(GOOD, Store(refuse=2))
    assert run.names == NAMES and run.waited == [1, 2]
    for store in (Store(refuse=99), Store(1, "store_unsafe")):
        with pytest.raises(Problem):
            Run(GOOD, store)
        assert store.items == []
