"""Owns the drill that matters most: real exporters send, every process that keeps evidence is killed with -9 meanwhile, and what
was acknowledged is there, once.

The ledger of what was acknowledged is kept here, outside the service: `export()` of the exporters is called directly, and a
span counts as acknowledged when it returned success. Every batch is sent twice. Rounds and spans: DRILL_ROUNDS.
"""

import os
import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from auditlog import secrets as master
from auditlog.store.reader import Reader
from auditlog.verify.batches import check_batch
from tests.service import Service

ROUNDS = int(os.environ.get("DRILL_ROUNDS", "4"))
SPANS = 500 * ROUNDS
BATCH = 50
VICTIMS = ("otlp-http", "otlp-grpc", "web", "postgres")


def make_spans(count: int) -> list[ReadableSpan]:
    """Spans as the SDK makes them: sessions of ten, content of which they share part."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "drill"}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("drill")
    for number in range(count):
        with tracer.start_as_current_span("chat") as span:
            span.set_attribute("session.id", f"drill-{number // 10}")
            span.set_attribute("number", number)
            span.set_attribute("gen_ai.input.messages", '[{"role": "user", "content": "' + f"{number // 10} said " * 60 + '"}]')
    return list(memory.get_finished_spans())


class Ledger:
    """What was acknowledged, as span IDs. Several threads write to it."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.sent = 0
        self.refused = 0

    def note(self, batch: Sequence[ReadableSpan], result: SpanExportResult) -> None:
        if result is SpanExportResult.SUCCESS:
            self.acknowledged |= {span.context.span_id for span in batch if span.context}
        else:
            self.refused += 1
        self.sent += 1


def send(exporter: Any, batches: list[list[ReadableSpan]], ledger: Ledger) -> None:
    for batch in batches:
        for _ in range(2):  # every batch twice: a resend is not a second event
            while True:
                result = exporter.export(batch)
                ledger.note(batch, result)
                if result is SpanExportResult.SUCCESS:
                    break
                time.sleep(0.1)


def exporters(service: Service) -> list[Any]:
    headers = {"authorization": f"Bearer {service.first_run['ingest_key']}"}
    return [
        HttpExporter(endpoint=f"http://127.0.0.1:{service.otlp}/v1/traces", headers=headers, timeout=10),
        GrpcExporter(endpoint=f"http://127.0.0.1:{service.grpc}", headers=headers, insecure=True, timeout=10),
        HttpExporter(endpoint=f"http://127.0.0.1:{service.http}/v1/traces", headers=headers, timeout=10),
    ]


def test_nothing_acknowledged_is_lost_or_doubled_while_everything_is_killed(service: Service) -> None:
    spans = make_spans(SPANS)
    batches = [spans[start : start + BATCH] for start in range(0, len(spans), BATCH)]
    senders = exporters(service)
    ledgers = [Ledger() for _ in senders]
    threads = start(senders, batches, ledgers)
    chance = random.Random(1)
    killed = dict.fromkeys(VICTIMS, 0)
    for _ in range(ROUNDS):
        for victim in chance.sample(VICTIMS, len(VICTIMS)):
            time.sleep(chance.uniform(0.05, 0.6))
            killed[victim] += service.kill(victim)
        service.wait_ready()  # a process that is killed three times before it serves is hopeless, and the supervisor says so and ends
        if not any(thread.is_alive() for thread in threads):
            threads = start(senders, batches, ledgers)  # nobody is killed unwatched: everything is sent once more
    for thread in threads:
        thread.join(timeout=300)
        assert not thread.is_alive(), "an exporter was never answered"
    for exporter in senders:
        exporter.shutdown()
    service.wait_ready()
    assert all(count >= ROUNDS * 0.9 for count in killed.values()), killed
    check(service, spans, ledgers)


def start(senders: list[Any], batches: list[list[ReadableSpan]], ledgers: list[Ledger]) -> list[threading.Thread]:
    threads = []
    for number, exporter in enumerate(senders):
        threads.append(threading.Thread(target=send, args=(exporter, batches[number :: len(senders)], ledgers[number])))
        threads[-1].start()
    return threads


def check(service: Service, spans: list[ReadableSpan], ledgers: list[Ledger]) -> None:
    """acknowledged ⊆ stored, nothing twice, every batch as it was acknowledged."""
    acknowledged = set().union(*(ledger.acknowledged for ledger in ledgers))
    assert acknowledged == {span.context.span_id for span in spans if span.context}
    with service.connect() as conn:
        rows = conn.execute("SELECT encode(span_id, 'hex'), count(*) FROM event WHERE item = 1 GROUP BY 1").fetchall()
        assert {int(span_id, 16) for span_id, _ in rows} == acknowledged
        assert [row for row in rows if row[1] != 1] == []
        wrapped = dict(conn.execute("SELECT id, secret_wrapped FROM project").fetchall())
        key = (service.data / "master.key").read_bytes()
        opened = {number: master.unwrap(bytes(secret), key) for number, secret in wrapped.items()}
        numbers = [row[0] for row in conn.execute("SELECT batch_no FROM batch ORDER BY 1")]
        assert [fault for number in numbers for fault in check_batch(conn, number, opened.__getitem__)] == []
        stored = Reader(conn, opened.__getitem__).events_of_batches(numbers)
        sent = {span.context.span_id: dict(span.attributes or {}) for span in spans if span.context}
        for event in stored:
            attributes = {key: value for key, _, value in event.item.attributes}  # type: ignore[union-attr]
            assert attributes == sent[int.from_bytes(event.item.span_id)]  # type: ignore[union-attr]
