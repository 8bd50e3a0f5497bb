"""Owns that a running service tells how it does, to whom it may, without what it was sent, and never to itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psycopg
import pytest
from opentelemetry import metrics
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from auditlog import keys, own
from auditlog.metrics import METRICS
from auditlog.platform import telemetry
from auditlog.platform.exposition import name_of
from auditlog.platform.otlp_target import Target
from tests.pages import ROOT
from tests.platform.backend import Backend, attributes
from tests.platform.test_supervisor import eventually
from tests.service import Service

HOSTILE = "Zaphod-4711"  # what stands for content: in no log, no metric and no trace
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
CALLER = "00-{0}-00f067aa0ba902b7-01"
TRACES = {name: f"{number:032x}" for number, name in enumerate(("good", "bad", "page", "grpc", "own", "mixed", "last"), 0xA0)}

Sample = tuple[str, frozenset[tuple[str, str]]]


class Observed(NamedTuple):
    """A project of these tests, by the texts of its keys."""

    ingest: str
    read: str
    admin: str


@pytest.fixture(scope="module")
def observed(service: Service) -> Observed:
    """Beside the demo's project, which other tests count."""
    with service.connect() as connection:
        row = connection.execute(
            "INSERT INTO project (name, slug, secret_wrapped, class_no, period, created_at) "
            "SELECT 'observed', 'observed', secret_wrapped, class_no, period, now() FROM project ORDER BY id LIMIT 1 RETURNING id"
        ).fetchone()
        assert row
        texts = []
        for scope in Observed._fields:
            made = keys.make()
            connection.execute(
                "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) VALUES (%s, %s, %s, %s, %s, now())",
                (made.public_id, row[0], HOSTILE, [scope], made.digest),
            )
            texts.append(made.text)
    return Observed(*texts)


def ask(port: int, path: str, key: str | None, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        given["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, given)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status), bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, bytes(error.read())


def post(port: int, key: str, body: bytes, trace: str = "good", path: str = "/v1/traces", **headers: str) -> tuple[int, bytes]:
    headers = {"Content_Type": "application/x-protobuf", "traceparent": CALLER.format(TRACES[trace]), **headers}
    return ask(port, path, key, body, **headers)


def spans(number: int, *, broken: int = 0, marked: int = 0, dropped: int = 0) -> bytes:
    """A request of spans that nobody sent before: `number` that are good, some with a trace ID that is none, some of the service's own."""
    message = ExportTraceServiceRequest()
    for count, length, is_own in ((number, 16, False), (broken, 3, False), (marked, 16, True)):
        if count:
            group = message.resource_spans.add()
            pair = group.resource.attributes.add()
            pair.key, pair.value.string_value = (own.ATTRIBUTE, "true") if is_own else ("service.name", HOSTILE)
            scope = group.scope_spans.add()
            for _ in range(count):
                span = scope.spans.add(trace_id=os.urandom(length), span_id=os.urandom(8), name=HOSTILE, dropped_attributes_count=dropped)
                pair = span.attributes.add()
                pair.key, pair.value.string_value = "gen_ai.prompt", HOSTILE
    return bytes(message.SerializeToString())


def exported(service: Service, key: str, body: bytes, *more: tuple[str, str], trace: str = "grpc") -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc}") as channel:
        metadata = (("authorization", f"Bearer {key}"), ("traceparent", CALLER.format(TRACES[trace])), *more)
        answer: bytes = channel.unary_unary(EXPORT)(body, metadata=metadata, timeout=30)
        return answer


def samples(service: Service, key: str) -> dict[Sample, float]:
    """What /metrics says: (name, labels) to number. Fails where a line is not of Prometheus' form."""
    status, text = ask(service.http, "/metrics", key)
    assert status == 200
    found = {}
    for line in text.decode().splitlines():
        if not line.startswith("# "):
            match = re.fullmatch(r'([a-z_]+)\{((?:[a-z_]+="[^"\\]*",?)+)\} (\d+(?:\.\d+)?(?:e-\d+)?)', line)
            assert match, line
            found[match[1], frozenset(re.findall(r'([a-z_]+)="([^"]*)"', match[2]))] = float(match[3])
    return found


def added_up(found: dict[Sample, float], name: str) -> Counter[str]:
    """A metric over all processes, by its other labels."""
    sums: Counter[str] = Counter()
    for (sample, labels), value in found.items():
        if sample == name:
            sums[" ".join(value for label, value in sorted(labels) if label != "process")] += int(value)
    return sums


def events(service: Service) -> int:
    with service.connect() as connection:
        row = connection.execute("SELECT count(*) FROM event").fetchone()
        assert row
        return int(row[0])


@pytest.fixture(scope="module")
def traffic(service: Service, observed: Observed) -> tuple[dict[Sample, float], dict[Sample, float]]:
    """Some of everything, once; and the metrics before and after."""
    eventually(lambda: not (service.data / "demo-wanted").exists())
    before = samples(service, observed.admin)
    body = spans(3, broken=2, dropped=7)
    for _ in range(2):
        assert post(service.otlp, observed.ingest, body)[0] == 200
    assert exported(service, observed.ingest, spans(4)) == b""
    rest = {"events": [{"kind": "prompt", "at": "2026-03-01T10:00:00Z", "session_id": HOSTILE, "customer_id": HOSTILE}]}
    assert ask(service.http, "/api/v1/events", observed.ingest, json.dumps(rest).encode(), Content_Type="application/json")[0] == 200
    refused = [
        post(service.otlp, observed.ingest, HOSTILE.encode(), "bad"),
        post(service.otlp, HOSTILE, body, "bad"),
        post(service.otlp, observed.read, body, "bad"),
        post(service.otlp, observed.ingest, body, "bad", f"/v1/{HOSTILE}"),
    ]
    assert [status for status, _ in refused] == [400, 401, 403, 404]
    for path in (
        f"/api/v1/sessions?customer_id={HOSTILE}&q={HOSTILE}",
        f"/api/v1/events/{HOSTILE}",
        f"/{HOSTILE}",
        f"/?{HOSTILE}={HOSTILE}",
    ):
        ask(service.http, path, observed.read, traceparent=CALLER.format(TRACES["page"]))
    return before, samples(service, observed.admin)


def test_each_process_is_shown_and_every_metric_that_there_is(service: Service, observed: Observed, traffic: Any) -> None:
    def up() -> set[str]:
        now = samples(service, observed.admin).items()
        return {dict(labels)["process"] for (name, labels), value in now if name == "auditlog_process_up" and value == 1}

    eventually(lambda: up() == {"otlp-http-0", "otlp-http-1", "otlp-grpc-0", "web-0", "derive-0", "sealer-0", "worker-0", "beat-0"})
    # A busy database does not tell the gauges in time: then they are left out, and asked for again.
    eventually(lambda: any(name == "auditlog_derive_lag_seconds" for name, _ in samples(service, observed.admin)))
    nothing_yet = {"auditlog_verification_age_seconds", "auditlog_verification_faults"}
    nothing_yet |= {"auditlog_seal_witnessed_total", "auditlog_seal_stamped_total"}  # nobody is asked
    wanted = {name_of(metric) for metric in METRICS.values()} - nothing_yet
    shown: set[str] = set()

    def families() -> set[str]:
        after = samples(service, observed.admin) | traffic[1]
        shown.update(re.sub("_(bucket|sum|count)$", "", name) if "duration" in name else name for name, _ in after)
        return shown

    eventually(lambda: families() >= wanted)  # the sealer has sealed something only a second after it came
    assert shown == wanted


def test_what_came_in_is_counted_by_what_became_of_it_whichever_process_took_it(traffic: Any) -> None:
    before, after = traffic

    def difference(name: str) -> dict[str, int]:
        return dict(added_up(after, name) - added_up(before, name))

    assert difference("auditlog_ingest_items_total") == {
        "accepted otlp_http": 3, "duplicate otlp_http": 3, "quarantined otlp_http": 4, "accepted otlp_grpc": 4, "accepted rest": 1,
    }  # fmt: skip
    assert difference("auditlog_ingest_requests_total") == {"otlp_http": 2, "otlp_grpc": 1, "rest": 1}
    assert difference("auditlog_ingest_commit_duration_seconds_count") == {"otlp_http": 2, "otlp_grpc": 1, "rest": 1}
    assert difference("auditlog_ingest_sender_dropped_total") == {"attributes": 21}, "once, however often it is sent"
    assert difference("auditlog_ingest_refused_total") == {
        "body_undecodable otlp_http": 1, "key_unknown otlp_http": 1, "scope_missing otlp_http": 1, "not_found otlp_http": 1,
    }  # fmt: skip
    assert difference("auditlog_ingest_body_size_bytes_total").keys() == {"otlp_http", "otlp_grpc", "rest"}


def test_nobody_sees_volumes_without_a_key_of_the_scope_admin(service: Service, observed: Observed, traffic: Any) -> None:
    assert ask(service.http, "/metrics", None)[0] == 401
    for key in (observed.read, observed.ingest, service.first_run["read_key"]):
        status, body = ask(service.http, "/metrics", key)
        assert (status, json.loads(body)["error"]["code"]) == (403, "scope_missing")


def test_the_background_pass_is_seen_to_catch_up(service: Service, observed: Observed, traffic: Any) -> None:
    def told(name: str) -> float | None:  # None: a busy database did not answer in time
        return samples(service, observed.admin).get((name, frozenset({("process", "web-0")})))

    eventually(
        lambda: told("auditlog_derive_pending") == told("auditlog_derive_lag_seconds") == told("auditlog_derive_text_lag_seconds") == 0
    )

    def behind() -> tuple[float, ...]:
        status = json.loads(ask(service.http, "/api/v1/status", observed.read)[1])
        return status["pending_batches"], status["derive_lag_seconds"], status["text_lag_seconds"]

    eventually(lambda: behind() == (0, 0, 0))  # a summary that is written once more has words that wait for a moment


def test_metrics_go_to_the_backend_of_the_standard_variables_from_each_process_for_itself(backend: Backend, traffic: Any) -> None:
    def instances(name: str) -> set[object]:
        return {resource["service.instance.id"] for resource, metric in backend.metrics() if metric.name == name}

    eventually(lambda: len(instances("auditlog.ingest.items")) >= 3 and instances("auditlog.derive.lag"))
    assert all(resource["service.name"] == "auditlog" and resource[own.ATTRIBUTE] is True for resource, _ in backend.metrics())
    assert all(headers[own.HEADER] == "1" for _, headers, _ in backend.requests)
    assert {metric.name for _, metric in backend.metrics() if metric.name.startswith("auditlog")} <= set(METRICS)


def test_each_request_is_a_span_below_its_callers_with_a_route_and_no_address(service: Service, backend: Backend, traffic: Any) -> None:
    def told(name: str) -> set[tuple[str, object, object]]:
        wanted = bytes.fromhex(TRACES[name])
        found = [span for _, span in backend.spans() if span.trace_id == wanted]
        assert all(span.parent_span_id.hex() == "00f067aa0ba902b7" for span in found)
        return {
            (span.name, values["http.response.status_code"], values.get("error.type")) for span in found for values in (attributes(span),)
        }

    eventually(lambda: told("good") == {("POST /v1/traces", 200, None)})
    eventually(lambda: told("grpc") == {("opentelemetry.proto.collector.trace.v1.TraceService/Export", 200, None)})
    eventually(lambda: len(told("bad")) == 4)
    assert told("bad") == {
        ("POST /v1/traces", 400, "body_undecodable"), ("POST /v1/traces", 401, "key_unknown"),
        ("POST /v1/traces", 403, "scope_missing"), ("POST unknown", 404, "not_found"),
    }  # fmt: skip
    eventually(lambda: len(told("page")) == 4)
    assert told("page") == {
        ("GET /api/v1/sessions", 200, None), ("GET /api/v1/events/<str:public_id>", 404, None), ("GET /", 302, None),
        ("GET /login", 200, None),
    }  # fmt: skip


def test_what_was_sent_or_asked_for_is_in_no_metric_no_trace_and_no_line_of_any_log(
    service: Service, backend: Backend, observed: Observed, traffic: Any
) -> None:
    with service.connect() as connection, pytest.raises(psycopg.Error):
        connection.execute(f"INSERT INTO project (id, name) VALUES (1, '{HOSTILE}')")  # PostgreSQL would quote the row and the statement
    service.settle()
    logs = {path.name: path.read_text() for path in (service.data / "logs").iterdir()}
    assert {"web.log", "otlp-http.log", "otlp-grpc.log", "derive.log", "sealer.log", "worker.log", "postgres.log"} <= set(logs)
    assert "ERROR" in logs["postgres.log"]
    assert not [name for name, text in logs.items() if HOSTILE in text]
    assert HOSTILE not in ask(service.http, "/metrics", observed.admin)[1].decode()
    assert not [path for path, _, body in backend.requests if HOSTILE.encode() in body]


def test_every_line_of_a_process_of_ours_is_an_object_with_an_event_of_the_reference(service: Service, traffic: Any) -> None:
    reference = (ROOT / "docs/reference/logs.md").read_text()
    lines = [
        line
        for name in ("web", "otlp-http", "otlp-grpc", "derive", "sealer")
        for line in (service.data / f"logs/{name}.log").read_text().splitlines()
    ]
    found = [json.loads(line) for line in lines]
    assert all(f"| `{line['event']}` |" in reference for line in found)
    refused = [line for line in found if line["event"] == "ingest.refused" and line["code"] == "body_undecodable"]
    assert [line["trace_id"] for line in refused] == [TRACES["bad"]]


def test_its_own_telemetry_sent_to_it_is_refused_and_nothing_grows(
    service: Service, observed: Observed, backend: Backend, traffic: Any
) -> None:
    before, counted = events(service), samples(service, observed.admin)
    for port, path in ((service.otlp, "/v1/traces"), (service.http, "/v1/traces"), (service.otlp, "/v1/metrics")):
        status, body = post(port, observed.ingest, spans(1), "own", path, **{own.HEADER: "1"})
        assert status == 403 and b"own_telemetry" in body
    with pytest.raises(grpc.RpcError, match="own_telemetry"):
        exported(service, observed.ingest, spans(1), (own.HEADER, "1"), trace="own")
    assert events(service) == before
    after = samples(service, observed.admin)
    for name in ("auditlog_ingest_requests_total", "auditlog_ingest_refused_total"):
        assert added_up(after, name) == added_up(counted, name)
    # Behind a Collector the mark is in the resource: what has it is left out, and its neighbours are stored.
    status, body = post(service.http, observed.ingest, spans(2, marked=3), "mixed")
    answer = ExportTraceServiceResponse.FromString(body).partial_success
    assert (status, answer.rejected_spans) == (200, 3) and "own telemetry" in answer.error_message
    assert exported(service, observed.ingest, spans(0, marked=1), trace="mixed") != b""
    assert events(service) == before + 2
    # None of these requests is traced. The last one is, by the process that took the others.
    assert post(service.http, observed.ingest, spans(1), "last")[0] == 200
    eventually(lambda: bytes.fromhex(TRACES["last"]) in {span.trace_id for _, span in backend.spans()})
    assert not {bytes.fromhex(TRACES[name]) for name in ("own", "mixed")} & {span.trace_id for _, span in backend.spans()}


def targets(service: Service) -> list[Target]:
    """Every way into the service, as an exporter might be pointed at it."""
    over_http = [f"http://127.0.0.1:{port}/v1/{signal}" for port in (service.otlp, service.http) for signal in ("traces", "metrics")]
    return [
        *(Target("metrics", "http/protobuf", url, "X") for url in over_http),
        Target("traces", "grpc", f"http://127.0.0.1:{service.grpc}", "X"),
    ]


def running() -> set[threading.Thread]:
    """The threads of this process but those in which `backend` answers, which end a moment after their answer was read."""
    return {thread for thread in threading.enumerate() if "process_request_thread" not in thread.name}


def test_whoever_answers_as_an_auditlog_is_recognised_and_gets_no_exports(
    service: Service, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    assert [target.is_auditlog() for target in targets(service)] == [True] * 5
    assert not Target("metrics", "http/protobuf", f"{backend.url}/v1/metrics", "X").is_auditlog()
    assert not Target("traces", "grpc", backend.url, "X").is_auditlog()
    threads = running()
    telemetry._export(targets(service), MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
    assert [record.msg for record in caplog.records] == ["telemetry.refused"] * 5
    assert running() <= threads, "no exporter was started"


@contextmanager
def forwarded(port: int) -> Iterator[str]:
    """Another address that leads to the service: what its settings cannot know."""
    command = [sys.executable, "-c", FORWARDER, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield f"http://127.0.0.1:{child.stdout.readline().strip()}"
        finally:
            child.kill()


FORWARDER = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def carry(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)
while True:
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    for pair in ((client, server), (server, client)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
"""


def test_a_start_that_would_send_to_itself_says_which_variable_and_keeps_evidence_all_the_same(service: Service) -> None:
    with forwarded(service.otlp) as elsewhere:
        for endpoint in (f"http://127.0.0.1:{service.otlp}", elsewhere):
            second = subprocess.run(
                [sys.executable, str(ROOT / "manage.py"), "serve"], cwd=ROOT, capture_output=True, text=True, timeout=60,
                env=service.env | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
            )  # fmt: skip
            assert f"OTEL_EXPORTER_OTLP_ENDPOINT sends the metrics of Auditlog itself to {endpoint}/v1/metrics" in second.stderr
            assert "Address already in use" in second.stderr  # it went on until it found the ports of the first one


def test_a_process_whose_telemetry_would_go_to_itself_exports_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUDITLOG_DATA", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    exported: list[object] = []
    monkeypatch.setattr(telemetry, "_export", lambda *given: exported.append(given))
    monkeypatch.setattr(telemetry, "_trace", exported.append)
    monkeypatch.setattr(metrics, "set_meter_provider", lambda meters: None)
    telemetry.start("test")
    assert [record.msg for record in caplog.records] == ["telemetry.refused"] * 2 and not exported
