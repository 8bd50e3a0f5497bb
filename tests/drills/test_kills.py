"""Owns the drill that matters most: real exporters send, every process that keeps evidence is killed with -9 meanwhile, and what
was acknowledged is there, once.

`export()` of the exporters is called directly, and a span counts as acknowledged when it returned success. Every batch is sent twice:
a resend is not a second event. DRILL_ROUNDS is how often something is killed.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import psycopg
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from auditlog.derive.consume import LOCK
from tests.drills.invariants import hold
from tests.drills.ledger import Ledger
from tests.drills.stand import Stand
from tests.platform.test_supervisor import eventually

ROUNDS: Final = int(os.environ.get("DRILL_ROUNDS", "5"))
BATCH: Final = 25
PACE: Final = 0.08  # seconds between batches: enough of them in the instant before each kill, few enough to verify every one afterwards
VICTIMS: Final = ("otlp-http", "otlp-grpc", "web", "derive", "sealer", "postgres")


class Maker:
    """Spans as the SDK makes them, never the same twice: sessions of ten, content of which they share part."""

    def __init__(self, name: str) -> None:
        self._memory = InMemorySpanExporter()
        provider = TracerProvider(resource=Resource.create({"service.name": f"drill-{name}"}))
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self._tracer = provider.get_tracer("drill")
        self._name, self._made = name, 0

    def batch(self) -> list[ReadableSpan]:
        for _ in range(BATCH):
            session = f"{self._name}-{self._made // 10}"
            with self._tracer.start_as_current_span("chat") as span:
                span.set_attribute("session.id", session)
                span.set_attribute("number", self._made)
                span.set_attribute("gen_ai.input.messages", '[{"role": "user", "content": "' + f"{session} said " * 60 + '"}]')
            self._made += 1
        made = list(self._memory.get_finished_spans())
        self._memory.clear()
        return made


def known(spans: Sequence[ReadableSpan]) -> dict[bytes, dict[str, Any]]:
    return {span.context.span_id.to_bytes(8, "big"): dict(span.attributes or {}) for span in spans if span.context}


def send(exporter: Any, maker: Maker, ledger: Ledger, enough: threading.Event) -> None:
    """New batches until it is enough. Nothing is sent again once it was acknowledged twice: a later resend would hide a loss."""
    while not enough.is_set():
        batch = maker.batch()
        ledger.sending(known(batch))
        for _ in range(2):
            while exporter.export(batch) is not SpanExportResult.SUCCESS:
                ledger.told("503")  # or no answer: an exporter does not say
                time.sleep(0.1)
            ledger.told("200", known(batch))
        time.sleep(PACE)


def exporters(stand: Stand) -> list[Any]:
    service, headers = stand.service, {"authorization": f"Bearer {stand.key}"}
    return [
        HttpExporter(endpoint=f"http://127.0.0.1:{service.otlp}/v1/traces", headers=headers, timeout=10),
        GrpcExporter(endpoint=f"http://127.0.0.1:{service.grpc}", headers=headers, insecure=True, timeout=10),
        HttpExporter(endpoint=f"http://127.0.0.1:{service.http}/v1/traces", headers=headers, timeout=10),
    ]


def consuming(stand: Stand) -> bool:
    """Whether a background pass is at work: it holds its lock."""
    try:
        return bool(stand.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted", LOCK))
    except psycopg.OperationalError:
        return False


def kill(stand: Stand) -> dict[str, int]:
    """ROUNDS times, each process as often as any other, in an order and at moments of chance."""
    chance = random.Random(1)
    killed = dict.fromkeys(VICTIMS, 0)
    for number in range(ROUNDS):
        if number % len(VICTIMS) == 0:
            # A process that is killed three times before it serves is hopeless, and the supervisor says so and ends.
            stand.service.wait_ready()
            eventually(lambda: consuming(stand), 60)
            order = chance.sample(VICTIMS, len(VICTIMS))
        time.sleep(chance.uniform(0.3, 1.2))
        victim = order[number % len(VICTIMS)]
        killed[victim] += stand.service.kill(victim)
    return killed


@pytest.mark.conformance(79, 80)
@pytest.mark.drill("kills")
def test_nothing_acknowledged_is_lost_or_doubled_while_everything_is_killed(stand: Stand, told: Any) -> None:
    before = len(stand.ledger.acknowledged)
    senders, enough = exporters(stand), threading.Event()
    threads = [
        threading.Thread(target=send, args=(exporter, Maker(str(number)), stand.ledger, enough)) for number, exporter in enumerate(senders)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    killed = kill(stand)
    enough.set()
    for thread in threads:
        thread.join(timeout=120)
        hold(not thread.is_alive(), "an exporter was never answered")
    for exporter in senders:
        exporter.shutdown()
    ended = time.monotonic()
    found = stand.examine()
    seconds = f"{ended - began:.0f} s and {time.monotonic() - ended:.0f} s for examining all"
    told(f"rounds {ROUNDS}, killed {sum(killed.values())}, {found}; {seconds}; {killed}")
    assert sum(killed.values()) >= ROUNDS * 0.8, killed
    assert len(stand.ledger.acknowledged) - before > 50 * ROUNDS, "too little was sent for the kills to mean anything"
    stand.judge(found, rebuild=True)
