"""Owns what becomes of a process's metrics and traces: shown at `/metrics`, and exported where the standard OTEL_ variables say so.

Each process has OpenTelemetry's SDK for itself and answers for itself (docs/adr/012): its numbers begin at zero when it starts, as both
Prometheus and OTLP expect. Exports are marked (`auditlog.own`), and never go to this service or another of its kind.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import socket
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from auditlog import conf, own, tracing
from auditlog.platform import exposition, otlp_target

logger = logging.getLogger(__name__)

_held: Final[list[int]] = []  # lock files of this process, open for as long as it lives


def check() -> list[otlp_target.Target]:
    """Where telemetry is to go. Ends the process where that cannot be read: before it begins, and not later."""
    try:
        return otlp_target.wanted()
    except conf.SettingError as error:
        sys.exit(str(error))


def start(role: str) -> None:
    """Once per process, after forking."""
    targets = [target for target in check() if not (target.is_here() and _refused(target))]
    if otlp_target.disabled():
        return
    folder = conf.get("AUDITLOG_DATA") / "metrics"
    number = claim(folder, role)
    reader = InMemoryMetricReader()
    resource = _resource(role, number)
    meters = MeterProvider([reader], resource, exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False)
    metrics.set_meter_provider(meters)
    if number is not None:
        exposition.serve(folder, f"{role}-{number}", reader)
    if targets:
        if any(target.signal == "traces" for target in targets):
            _trace(resource)
        # In the background: who takes data must not wait for a backend that does not answer.
        threading.Thread(target=_export, args=(targets, meters), name="telemetry", daemon=True).start()


def claim(folder: Path, role: str) -> int | None:
    """The lowest number that no living process of this role has: names stay few however often a process is started again.

    The kernel lets go of the lock when the process ends, however it ends. None: the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in itertools.count():
            file = os.open(folder / f"{role}-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            _held.append(file)
            return number
    except OSError as error:
        logger.warning("telemetry.not_shown", extra={"error_kind": type(error).__name__})
    return None


def _resource(role: str, number: int | None) -> Resource:
    instance = uuid.uuid5(uuid.NAMESPACE_URL, f"{socket.gethostname()}:{conf.get('AUDITLOG_DATA')}:{role}:{number}")
    mine: dict[str, Any] = {"service.instance.id": str(instance), "auditlog.process": role, own.ATTRIBUTE: True}
    named = Resource.create(mine)
    unnamed = str(named.attributes.get("service.name", "")).startswith("unknown_service")
    return named.merge(Resource({"service.name": "auditlog"})) if unnamed else named


def _trace(resource: Resource) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider(resource=resource, shutdown_on_exit=False))
    tracing.enabled = True


def _export(targets: list[otlp_target.Target], meters: MeterProvider) -> None:
    """Begins the exports. What cannot be exported is lost, and nothing else: no request waits for it."""
    for target in targets:
        if target.is_auditlog() and _refused(target):
            continue
        try:
            _begin(target, meters)
        except Exception as error:  # noqa: BLE001 - a certificate that is not there, a name that is no host: the service goes on without
            logger.error("telemetry.not_exported", extra={"signal": target.signal, "error_kind": type(error).__name__})
            continue
        logger.info("telemetry.exporting", extra={"signal": target.signal, "protocol": target.protocol})


def _refused(target: otlp_target.Target) -> bool:
    """An agent's variables in the shell of the service are a mistake that costs its telemetry. It must not cost the evidence."""
    logger.error("telemetry.refused", extra={"signal": target.signal, "variable": target.variable})
    return True


def _begin(target: otlp_target.Target, meters: MeterProvider) -> None:
    exporter: Any
    if target.signal == "metrics":
        if target.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics

            exporter = GrpcMetrics(endpoint=target.url, headers=target.headers())
        else:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics

            exporter = HttpMetrics(endpoint=target.url, headers=target.headers())
        meters.add_metric_reader(PeriodicExportingMetricReader(exporter))
        return
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if target.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        exporter = GrpcSpans(endpoint=target.url, headers=target.headers())
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

        exporter = HttpSpans(endpoint=target.url, headers=target.headers())
    provider: Any = trace.get_tracer_provider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
