"""Owns the real exporters against the running receivers: Python's over HTTP and gRPC, JavaScript's with protobuf, JSON and gRPC.

The Collector's binary is in none of PyPI, npm and Debian: it is not run. A request as its configuration makes it is in tests/story.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grpc
import psycopg
import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcTraces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpTraces
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from auditlog.item import ARRAY, BOOL, DOUBLE, INT, KVLIST, STRING, Span
from tests.conformance import note
from tests.contract import ways
from tests.contract.conftest import Items, Receivers
from tests.pages import ROOT

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own
proves = pytest.mark.conformance

FOLDER = ROOT / "tests" / "javascript"
if shutil.which("node") is None or not (FOLDER / "node_modules").is_dir():
    raise RuntimeError("JavaScript's exporters need Node.js and their packages. Run: make tests/javascript/node_modules/.stamp")

LINKED = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAID: dict[str, Any] = {"text": "ünïcödé 🙂", "count": 9007199254740991, "ratio": 0.1, "yes": True, "list": ["a", "b"]}
STORED = [
    ("text", STRING, "ünïcödé 🙂"), ("count", INT, 9007199254740991), ("ratio", DOUBLE, 0.1), ("yes", BOOL, True),
    ("list", ARRAY, [(STRING, "a"), (STRING, "b")]),
]  # fmt: skip


def span(name: str) -> Any:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    linked = Link(SpanContext(int(LINKED[0], 16), int(LINKED[1], 16), is_remote=True))
    with provider.get_tracer("exporters").start_as_current_span(name, attributes={"name": name} | SAID, links=[linked]) as made:
        made.add_event("event", {"k": 1})
        made.set_status(Status(StatusCode.ERROR, "because"))
    return memory.get_finished_spans()


def record(name: str) -> Any:
    memory: Any = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    provider.get_logger("exporters").emit(
        LogRecord(
            timestamp=1, event_name=name, body={"said": ["x", 1]}, severity_number=SeverityNumber.INFO, attributes={"name": name} | SAID
        )
    )
    return memory.get_finished_logs()


class Kind(NamedTuple):
    transport: str
    signal: str
    exporter: Any
    compressions: tuple[Any, ...]
    make: Callable[[str], Any]


HTTP, GRPC = tuple(Compression), (grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate)
KINDS = [
    Kind("protobuf", "traces", HttpTraces, HTTP, span), Kind("protobuf", "logs", HttpLogs, HTTP, record),
    Kind("gRPC", "traces", GrpcTraces, GRPC, span), Kind("gRPC", "logs", GrpcLogs, GRPC, record),
]  # fmt: skip


def exporter(receivers: Receivers, kind: Kind, compression: Any) -> Any:
    headers = {"authorization": f"Bearer {receivers.keys['good']}"}
    note(kind.transport, kind.signal)
    if kind.transport == "gRPC":
        endpoint = f"http://127.0.0.1:{receivers.grpc}"
        return kind.exporter(endpoint=endpoint, headers=headers, insecure=True, compression=compression, timeout=10)
    endpoint = f"http://127.0.0.1:{receivers.otlp}/v1/{kind.signal}"
    return kind.exporter(endpoint=endpoint, headers=headers, compression=compression, timeout=10)


@pytest.fixture
def arrived(owner: psycopg.Connection[Any], items_of: Items) -> Iterator[Callable[[], list[Any]]]:
    """Every item that was stored since the test began."""

    def batches() -> set[int]:
        owner.rollback()
        return {number for (number,) in owner.execute("SELECT batch_no FROM batch")}

    before = batches()
    yield lambda: [item for number in sorted(batches() - before) for item in items_of({"batch": str(number)})]


def check(items: list[Any], names: list[str]) -> None:
    """Each was stored, and with everything that was said."""
    assert sorted(map(ways.name_of, items)) == sorted(names)
    for item in items:
        assert item.attributes == [("name", STRING, ways.name_of(item)), *STORED]
        if isinstance(item, Span):
            assert [(event.name, event.attributes) for event in item.events] == [("event", [("k", INT, 1)])]
            assert [(link.trace_id.hex(), link.span_id.hex()) for link in item.links] == [LINKED]
            assert item.status == (2, "because")
        else:
            kind, said = item.body
            assert (kind, item.severity) == (KVLIST, 9)
            assert said == [("said", ARRAY, [(STRING, "x"), (INT, 1)])]


@proves(95)
def test_pythons_exporters_are_stored_with_every_compression(receivers: Receivers, arrived: Callable[[], list[Any]]) -> None:
    names = []
    for kind in KINDS:
        for compression in kind.compressions:
            names.append(f"{kind.transport} {kind.signal} {compression.name}")
            one = exporter(receivers, kind, compression)
            assert one.export(kind.make(names[-1])).name == "SUCCESS", names[-1]
            one.shutdown()
    assert len(names) == 12
    check(arrived(), names)


@proves(95)
def test_javascripts_exporters_are_stored_with_every_compression(receivers: Receivers, arrived: Callable[[], list[Any]]) -> None:
    done = subprocess.run(
        ["node", "exporters.mjs", f"http://127.0.0.1:{receivers.otlp}", f"http://127.0.0.1:{receivers.grpc}"],
        cwd=FOLDER,
        env=os.environ | {"OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={receivers.keys['good']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 12, done.stderr
    for result in results:
        assert result["code"] == 0, result
        note(result["transport"], result["signal"])
    check(arrived(), [result["name"] for result in results])


@proves(71)
def test_pythons_exporters_bridge_a_database_that_is_away_by_themselves(receivers: Receivers, arrived: Callable[[], list[Any]]) -> None:
    """What 503 and UNAVAILABLE are for: their queue is sent again, and nobody has to do anything."""
    sent = [(exporter(receivers, kind, kind.compressions[0]), kind.make(f"bridged {number}")) for number, kind in enumerate(KINDS)]
    receivers.door.shut()
    threading.Timer(0.5, receivers.door.open).start()
    results: list[str] = []
    threads = [threading.Thread(target=lambda one=one, items=items: results.append(one.export(items).name)) for one, items in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == ["SUCCESS"] * len(KINDS)
    check(arrived(), [f"bridged {number}" for number in range(len(KINDS))])
