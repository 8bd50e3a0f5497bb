"""Owns every metric of the service: name, unit, attributes, a sentence each, and what counts them on the hot path.

Only OpenTelemetry's API is used here; what becomes of the numbers is decided in `auditlog.platform.telemetry`, and where nothing is decided
they go nowhere. A request costs a few additions whatever number of items it holds. No attribute ever names a session, a user, a
project or anything that was sent: each has a handful of values that stand in the code. docs/reference/metrics.md lists the same metrics.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

SCOPE: Final = "auditlog"
COUNTER, HISTOGRAM, GAUGE = "counter", "histogram", "gauge"
TRANSPORTS: Final = {1: "otlp_http", 2: "otlp_http", 3: "otlp_grpc", 4: "rest"}  # by column batch.protocol
COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metric(NamedTuple):
    """One metric. unit: UCUM, as OpenTelemetry writes it; attributes: their names."""

    name: str
    kind: str
    unit: str
    attributes: tuple[str, ...]
    doc: str


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("auditlog.ingest.items", COUNTER, "{item}", ("outcome", "transport"),
               "Items of requests answered with success: `accepted`, `duplicate` (stored before) or `quarantined`."),
        Metric("auditlog.ingest.requests", COUNTER, "{request}", ("transport",), "Requests answered with success."),
        Metric("auditlog.ingest.refused", COUNTER, "{request}", ("error.type", "transport"), "Requests refused, by code."),
        Metric("auditlog.ingest.body.size", COUNTER, "By", ("transport",), "Bodies of requests answered with success, decompressed."),
        Metric("auditlog.ingest.commit.duration", HISTOGRAM, "s", ("transport",),
               "From decoded items to COMMIT: packing, writing and flushing a request."),
        Metric("auditlog.ingest.sender.dropped", COUNTER, "{record}", ("what",),
               "What senders say that they left out of spans and log records stored as new: `attributes`, `events`, `links`."),
        Metric("auditlog.ingest.queue.depth", GAUGE, "{request}", (), "Requests that wait for a thread that writes."),
        Metric("auditlog.cache.lookups", COUNTER, "{lookup}", ("cache", "result"),
               "Look-ups of API keys and of content known to be stored: `hit` or `miss`."),
        Metric("auditlog.derive.batches", COUNTER, "{batch}", (), "Batches that the background pass has read."),
        Metric("auditlog.derive.pending", GAUGE, "{batch}", (), "Batches that are committed and that the background pass has not read."),
        Metric("auditlog.derive.lag", GAUGE, "s", (), "Age of the oldest batch that the background pass has not read."),
        Metric("auditlog.derive.text.lag", GAUGE, "s", (), "How long the oldest summary waits for its words to be found by full text."),
        Metric("auditlog.derive.stale", GAUGE, "{session}", (), "Sessions that got events after their summary was written; at most 1,000."),
        Metric("auditlog.derive.failed", GAUGE, "{batch}", (), "Batches that the background pass has set aside."),
        Metric("auditlog.seal.leaves", COUNTER, "{leaf}", (), "Parts of batches that were sealed in the log."),
        Metric("auditlog.seal.pending", GAUGE, "{batch}", (), "Batches that are committed and not sealed; at most 100,000."),
        Metric("auditlog.seal.lag", GAUGE, "s", (), "Age of the oldest batch that is not sealed."),
        Metric("auditlog.seal.witnessed", COUNTER, "{checkpoint}", ("outcome",),
               "Checkpoints sent to a witness: `cosigned`, or why not, as in the log."),
        Metric("auditlog.seal.stamped", COUNTER, "{checkpoint}", ("outcome",),
               "Checkpoints sent to a timestamp authority: `stamped`, or why not, as in the log."),
        Metric("auditlog.seal.refused", GAUGE, "1", (), "Whether the sealer refuses to sign: 1, until somebody has mended the reason."),
        Metric("auditlog.job.pending", GAUGE, "{job}", (), "Background jobs that are due and not done."),
        Metric("auditlog.verification.age", GAUGE, "s", (), "Time since the last verification of everything was finished."),
        Metric("auditlog.verification.faults", GAUGE, "{fault}", (), "What the last verification of everything found to be wrong."),
        Metric("auditlog.process.up", GAUGE, "1", (), "Whether a process answered when it was asked for its metrics; only at `/metrics`."),
    )
}  # fmt: skip

_meter: Final = metrics.get_meter(SCOPE)


class Counter:
    """A count per combination of attributes, read when somebody asks. To add costs a tenth of what the SDK's own counter does."""

    def __init__(self, name: str) -> None:
        self._names = METRICS[name].attributes
        self._counts: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()
        _meter.create_observable_counter(name, [self.read], METRICS[name].unit, METRICS[name].doc)

    def add(self, count: int, *values: str) -> None:
        """values: of the attributes, in their order."""
        if count:
            with self._lock:
                self._counts[values] = self._counts.get(values, 0) + count

    def read(self, _: CallbackOptions | None = None) -> list[Observation]:
        with self._lock:
            return [Observation(count, dict(zip(self._names, values, strict=True))) for values, count in self._counts.items()]


items: Final = Counter("auditlog.ingest.items")
requests: Final = Counter("auditlog.ingest.requests")
refusals: Final = Counter("auditlog.ingest.refused")
size: Final = Counter("auditlog.ingest.body.size")
sender_dropped: Final = Counter("auditlog.ingest.sender.dropped")
lookups: Final = Counter("auditlog.cache.lookups")
batches_derived: Final = Counter("auditlog.derive.batches")
witnessed: Final = Counter("auditlog.seal.witnessed")
stamped: Final = Counter("auditlog.seal.stamped")
leaves_sealed: Final = Counter("auditlog.seal.leaves")
_commit: Final = _meter.create_histogram(
    "auditlog.ingest.commit.duration", "s", METRICS["auditlog.ingest.commit.duration"].doc,
    explicit_bucket_boundaries_advisory=COMMIT_SECONDS,
)  # fmt: skip


class Dropped(NamedTuple):
    """What the senders of a request say that they left out."""

    attributes: int = 0
    events: int = 0
    links: int = 0


def succeeded(protocol: int, body: int, accepted: int, duplicates: int, quarantined: int) -> None:
    """A request answered with success, from its body's bytes to what became of its items."""
    transport = TRANSPORTS[protocol]
    requests.add(1, transport)
    size.add(body, transport)
    items.add(accepted, "accepted", transport)
    items.add(duplicates, "duplicate", transport)
    items.add(quarantined, "quarantined", transport)


def committed(protocol: int, seconds: float, dropped: Dropped) -> None:
    _commit.record(seconds, {"transport": TRANSPORTS[protocol]})
    for what, count in zip(Dropped._fields, dropped, strict=True):
        sender_dropped.add(count, what)


def refused(transport: str, code: str) -> None:
    refusals.add(1, code, transport)


def looked_up(cache: str, hits: int, misses: int) -> None:
    lookups.add(hits, cache, "hit")
    lookups.add(misses, cache, "miss")


def observe(name: str, read: Callable[[], float | None]) -> None:
    """A gauge that is read whenever somebody asks. None: it is not known now, so nothing is told."""

    def told(_: CallbackOptions) -> Iterable[Observation]:
        value = read()
        return [] if value is None else [Observation(value)]

    _meter.create_observable_gauge(name, [told], METRICS[name].unit, METRICS[name].doc)
