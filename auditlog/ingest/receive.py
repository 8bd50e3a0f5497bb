"""Owns the whole path of a request, whatever the transport: admit → expand → decode → write → answer.

Success is answered only after COMMIT. Everything before it leaves nothing behind: a request whose sender, process or database
dies on the way is sent again by its sender, and stored once (docs/adr/002).
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from auditlog import metrics, own, tracing
from auditlog.errors import Problem
from auditlog.ingest import compression, declared, outcome, rest
from auditlog.ingest.auth import Caller, key_text
from auditlog.ingest.decode import Decoded, decode_request
from auditlog.ingest.quota import Quotas
from auditlog.item import LOG, REST, SPAN, Item, Unreadable
from auditlog.store.writer import Project, Written

logger = logging.getLogger(__name__)

OTLP_PATHS: Final = {"/v1/traces": SPAN, "/v1/logs": LOG}
REST_PATH: Final = "/api/v1/events"
OTLP_HTTP_PROTOBUF, OTLP_HTTP_JSON, OTLP_GRPC, REST_EVENTS = 1, 2, 3, 4  # column batch.protocol


class Store(Protocol):
    """What ingest needs of `auditlog.store.writer.Writer`."""

    def write(self, project: Project, batch: list[Item], /, *, key_id: int | None, protocol: int, received_at: datetime) -> Written: ...


class Admitted(NamedTuple):
    """A request whose head is in order: what its body will be, and whose key came with it."""

    signal: int
    media: str  # of the request, and so of the answer
    encoding: str
    key: str


def route_of(path: str) -> str:
    """For traces and messages: the path where it is one of ours, and nothing that a client made up."""
    path = path.rstrip("/")
    return path if path in OTLP_PATHS or path == REST_PATH else "unknown"


def media_of(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def answer_media(path: str, content_type: str | None) -> str:
    """The encoding of an answer is that of the request; protobuf where the request did not say."""
    return outcome.JSON if media_of(content_type) == outcome.JSON or path.startswith(REST_PATH) else outcome.PROTOBUF


def admit(method: str, path: str, header: Callable[[str], str | None]) -> Admitted:
    """Judges a request by its head. Raises Problem."""
    refuse_own(header)
    path = path[:-1] if path.endswith("/") and len(path) > 1 else path
    signal = REST if path == REST_PATH else OTLP_PATHS.get(path)
    if signal is None:
        if path == "/v1/metrics":
            raise Problem("signal_unsupported", "Metrics are not stored here, so they are not accepted; send them to a metrics store.")
        raise Problem("not_found", "There is nothing at this path; OTLP goes to /v1/traces and /v1/logs.")
    if method != "POST":
        raise Problem("method_not_allowed", f"This path takes POST, not {method:.20}.")
    key = key_text(header)
    media = media_of(header("content-type"))
    allowed = (outcome.JSON, rest.NDJSON) if signal == REST else (outcome.PROTOBUF, outcome.JSON)
    if media not in allowed:
        raise Problem("content_type_unsupported", f"Content-Type {media!r:.60} is not supported here; send {' or '.join(allowed)}.")
    return Admitted(signal, media, compression.encoding_of(header("content-encoding")), key)


def refuse_own(header: Callable[[str], str | None]) -> None:
    """Raises Problem for an export of the service itself, or of another of its kind: stored, it would be traced and exported again."""
    if header(own.HEADER) is not None:
        tracing.forget()
        raise Problem(own.CODE, "This is Auditlog's own telemetry, which no Auditlog stores; export it to another backend.")


def decoded(body: bytes, signal: int, encoding: str) -> Decoded:
    """The items of an OTLP request that are to be stored. Raises Problem where nothing at all can be read."""
    return declared.without_own(decode_request(body, signal, encoding))


def keep(store: Store, caller: Caller, found: Decoded, protocol: int, received_at: datetime, size: int) -> Written | None:
    """Stores what was decoded, the unreadable items with it, and counts it. None: there was nothing in the request, so nothing is written.

    size: bytes of the body after decompression.
    """
    if not found.items:
        metrics.succeeded(protocol, size, 0, 0, 0)
        return None
    began = time.perf_counter()
    written = store.write(caller.project, found.items, key_id=caller.key_id, protocol=protocol, received_at=received_at)
    seconds = time.perf_counter() - began
    # Of a batch with both quarantined and repeated items the store does not say which were which: the quarantined count as new.
    bad = sum(isinstance(item, Unreadable) for item in found.items) if found.rejected else 0
    good = max(0, written.acknowledged - bad)
    accepted = max(0, min(good, written.stored - bad))
    metrics.succeeded(protocol, size, accepted, good - accepted, found.rejected)
    metrics.committed(protocol, seconds, declared.dropped(found.items) if written.stored else metrics.Dropped())
    return written


def receive(store: Store, caller: Caller, head: Admitted, body: bytes, limit: int, received_at: datetime, quotas: Quotas) -> outcome.Answer:
    """From the bytes of a body to the answer. Never raises: what nobody foresaw is 503, so that the sender tries again."""
    try:
        body = compression.expand(body, head.encoding, limit)
        if head.signal == REST:
            events = rest.read(body, head.media)
            written = keep(store, caller, Decoded(events.items, len(events.reported)), REST_EVENTS, received_at, len(body))
            quotas.charge(caller.key_id, len(events.items), len(body))
            return outcome.rest_success(events.good, events.reported, written)
        is_json = head.media == outcome.JSON
        found = decoded(body, head.signal, "json" if is_json else "protobuf")
        # Dying before the next line has returned: nothing is stored, or all of it and the answer is lost; a resend mends both.
        written = keep(store, caller, found, OTLP_HTTP_JSON if is_json else OTLP_HTTP_PROTOBUF, received_at, len(body))
        quotas.charge(caller.key_id, len(found.items), len(body))
        return outcome.otlp_success(head.signal, head.media, found.rejected + found.own, remark(found, body), written)
    except Exception as error:  # noqa: BLE001, the last line of defence: an exporter drops what is answered 500, and repeats what is answered 503
        return refuse(as_problem(error), head.media, rest_form=head.signal == REST)


def remark(found: Decoded, body: bytes) -> str:
    """What the sender should know besides success. A request without items is no error, but often a misspelt member."""
    if found.own:
        return f"{found.own} {declared.OWN}. {outcome.rejection_text(found.rejected, found.message)}".strip()
    if not found.items and body.strip() not in (b"", b"{}") and body[:1] == b"{":
        return "The request held no items, so nothing was stored; in OTLP/JSON the member names are resourceSpans, scopeSpans, spans."
    return outcome.rejection_text(found.rejected, found.message)


def refuse(problem: Problem, media: str, *, rest_form: bool) -> outcome.Answer:
    note_refusal(problem, "rest" if rest_form else "otlp_http")
    return outcome.rest_refusal(problem) if rest_form else outcome.otlp_refusal(problem, media)


def note_refusal(problem: Problem, transport: str) -> None:
    logger.info("ingest.refused", extra={"code": problem.code, "transport": transport})
    if problem.code != own.CODE:  # what the service does with its own telemetry is no traffic
        metrics.refused(transport, problem.code)


def as_problem(error: Exception) -> Problem:
    """A Problem as it is; anything else is our mistake: logged by type and place, because its text may hold stored content.

    Either way without its traceback: whoever keeps the error in a variable makes a circle of it and his frame, and the frame holds
    the body and its connection, which would stay open until the next search for circles.
    """
    frames = traceback.extract_tb(error.__traceback__)[-4:] if not isinstance(error, Problem) else ()
    error.__traceback__ = error.__context__ = error.__cause__ = None
    if isinstance(error, Problem):
        return error
    where = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames]
    logger.error("ingest.internal", extra={"error_kind": type(error).__name__, "where": where})
    return Problem("internal", "The service made a mistake and stored nothing of this request; send it again.")
