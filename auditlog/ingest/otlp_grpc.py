"""Owns OTLP over gRPC: TraceService, LogsService and health, on the same path as HTTP. `python -m auditlog.ingest.otlp_grpc`."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Final, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from auditlog import conf, tracing
from auditlog.errors import Problem
from auditlog.ingest import outcome, receive, server, work
from auditlog.ingest.auth import Keys, key_text
from auditlog.ingest.compression import too_large
from auditlog.ingest.decode import Decoded
from auditlog.ingest.gate import Gate, Place
from auditlog.ingest.quota import Quotas
from auditlog.item import LOG, SPAN
from auditlog.platform import logs, process, telemetry
from auditlog.store.writer import Writer, Written

logger = logging.getLogger("auditlog.ingest.otlp_grpc")

SERVICES: Final = {
    "opentelemetry.proto.collector.trace.v1.TraceService": SPAN,
    "opentelemetry.proto.collector.logs.v1.LogsService": LOG,
}
THREADS: Final = 64  # calls that may wait; the work itself is done by the threads of `work`
CALLS: Final = THREADS // 2  # of known keys; whatever these do, there are threads left for the look-ups and refusals of others
_HELD_MESSAGES: Final = 8  # messages of the largest size that are held or being read at once: what is read may be as large as that
_ROOM_WITHIN: Final = 2.0  # seconds that a call waits for its turn to be read
STOP_WITHIN: Final = 5.0
_WATCHED_EVERY: Final = 0.5
_HEALTH_EVERY: Final = 1.0
_HEALTH_WITHIN: Final = 3.0
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Exporter:
    """The Export method of both services. Bytes in, bytes out: grpcio would answer INTERNAL to what it cannot decode itself.

    Served as a stream of one message, which is the same to the sender: nothing is read of it before its key is known and it has room.
    """

    def __init__(self, keys: Keys, limit: int) -> None:
        self._keys = keys
        self._limit = limit
        self._gate = Gate(CALLS, limit * _HELD_MESSAGES)
        self._quotas = Quotas()
        self._arriving = Arriving(float(conf.get("AUDITLOG_BODY_TIMEOUT")))
        self._work = work.Work()

    def handler(self, kind: int, service: str) -> grpc.RpcMethodHandler[bytes, bytes]:
        def export(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
            with tracing.request(f"{service}/Export", metadata.get) as told:
                return self._export(kind, messages, metadata, context, told)

        return grpc.stream_unary_rpc_method_handler(export)

    def _read(self, messages: Iterator[bytes], context: grpc.ServicerContext, place: Place) -> bytes:
        place.hold(self._limit, _ROOM_WITHIN)
        with self._arriving.within(context):
            body = next(messages, None)
        if body is None:
            raise Problem("body_undecodable", "The call ended before its message was complete; send it again whole.")
        if len(body) > self._limit:
            raise too_large(self._limit)
        place.hold(len(body))
        return body

    def _export(
        self, kind: int, messages: Iterator[bytes], metadata: dict[str, str], context: grpc.ServicerContext, told: tracing.Request
    ) -> bytes:
        place = None
        try:
            receive.refuse_own(metadata.get)
            caller = self._keys.check(key_text(metadata.get), "ingest")
            self._quotas.check(caller.key_id)
            place = self._gate.enter(caller.project.project_id)
            body = self._read(messages, context, place)
            now = datetime.now(UTC)

            def job(writer: Writer) -> tuple[Decoded, Written | None]:
                found = receive.decoded(body, kind, "protobuf")
                # Dying before the next line has returned: nothing is stored, or all of it and the answer is lost; a resend mends both.
                written = receive.keep(writer, caller, found, receive.OTLP_GRPC, now, len(body))
                self._quotas.charge(caller.key_id, len(found.items), len(body))
                return found, written

            mine, place = place, None  # from here on the job's
            found, written = self._work.wait(job, mine)
            if written is not None:
                context.set_trailing_metadata(((outcome.RECEIPT, outcome.receipt(written)),))
            told.answered(200)
            return outcome.otlp_body(kind, outcome.PROTOBUF, found.rejected + found.own, receive.remark(found, body))
        except grpc.RpcError:
            raise  # the sender has gone, or its message was too large and is answered; there is nobody to tell
        except Exception as error:  # noqa: BLE001, the last line of defence, as in receive: UNAVAILABLE is repeated, UNKNOWN is not
            problem = receive.as_problem(error)
            told.answered(problem.kind.http, problem.code)
            refuse(problem, context)
        finally:
            if place:
                place.leave()


class Arriving:
    """Ends calls whose message does not arrive in time: CANCELLED, which exporters repeat. grpcio knows no time-out for reading."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until: dict[grpc.ServicerContext, float] = {}
        threading.Thread(target=self._watch, name="arriving", daemon=True).start()

    @contextlib.contextmanager
    def within(self, context: grpc.ServicerContext) -> Iterator[None]:
        with self._lock:
            self._until[context] = time.monotonic() + self._seconds
        try:
            yield
        finally:
            with self._lock:
                del self._until[context]

    def _watch(self) -> None:
        while True:
            time.sleep(_WATCHED_EVERY)
            now = time.monotonic()
            with self._lock:
                late = [context for context, until in self._until.items() if until < now]
            for context in late:
                receive.note_refusal(Problem("overloaded", "The message did not arrive in time."), "otlp_grpc")
                context.cancel()


def refuse(problem: Problem, context: grpc.ServicerContext) -> NoReturn:
    """Aborts with the status, its details, and for what may be repeated RetryInfo in both places where clients look for it."""
    receive.note_refusal(problem, "otlp_grpc")
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", outcome.status(problem).SerializeToString())]
    if problem.retry_after:
        trailers.append(("google.rpc.retryinfo-bin", outcome.retry_info(problem).SerializeToString()))
    context.set_trailing_metadata(tuple(trailers))
    raise context.abort(_CODES[problem.kind.grpc], f"{problem.code}: {problem.message}")


class Health(threading.Thread):
    """Says SERVING while the database takes writes, NOT_SERVING while it refuses or hangs: load balancers then choose another."""

    def __init__(self, servicer: health.HealthServicer) -> None:
        super().__init__(name="health", daemon=True)
        self._servicer = servicer
        self._work = work.Work(1, "health")
        self.stopping = threading.Event()

    def run(self) -> None:
        asked: Future[bool] | None = None
        while not self.stopping.is_set():
            asked = asked or self._work.submit(Writer.alive)
            alive = False
            if asked in wait([asked], timeout=_HEALTH_WITHIN).done:
                alive = asked.exception() is None and asked.result()
                asked = None  # else it still hangs, and the next round waits for the same answer
            status = health_pb2.HealthCheckResponse.SERVING if alive else health_pb2.HealthCheckResponse.NOT_SERVING
            for name in ("", *SERVICES):
                self._servicer.set(name, status)
            self.stopping.wait(_HEALTH_EVERY)


def build(address: tuple[str, int], keys: Keys | None = None) -> tuple[grpc.Server, Health]:
    limit = int(conf.get("AUDITLOG_MAX_BODY"))
    exporter = Exporter(keys or Keys(), limit)
    service = grpc.server(
        ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", 100),
            ("grpc.so_reuseport", 0),  # two servers would share the port without a word
        ],
    )
    for name, kind in SERVICES.items():
        service.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": exporter.handler(kind, name)}),))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, service)
    host, port = address
    try:
        service.add_insecure_port(f"{f'[{host}]' if ':' in host else host}:{port}")
    except RuntimeError:
        sys.exit(f"{host}:{port} cannot be used: another process has it; end that one, or set AUDITLOG_OTLP_GRPC.")
    return service, Health(servicer)


def main() -> None:
    logs.configure()
    server.tune()
    telemetry.start("otlp-grpc")
    service, checks = build(conf.get("AUDITLOG_OTLP_GRPC"))
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    service.start()
    checks.start()
    process.ready()
    asked.wait()
    checks.stopping.set()
    service.stop(STOP_WITHIN).wait()  # no new calls; those in flight end
    logging.shutdown()
    os._exit(0)  # a thread that hangs on the database must not hold up the end; what was acknowledged is committed


if __name__ == "__main__":
    main()
