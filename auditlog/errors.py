"""Owns every error that a caller can see: one class, stable codes, and for each code its HTTP and gRPC status."""

from __future__ import annotations

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """How one code is answered. `grpc` is the numeric google.rpc.Code, also used in HTTP Status bodies."""

    http: int
    grpc: int


INVALID, DEADLINE, UNAUTHENTICATED, DENIED, NOT_FOUND, EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE, NOT_NOW = 3, 4, 16, 7, 5, 8, 12, 14, 9

CODES: Final[dict[str, Kind]] = {
    # the whole request is refused; nothing of it was stored
    "key_missing": Kind(401, UNAUTHENTICATED),
    "key_unknown": Kind(401, UNAUTHENTICATED),
    "key_revoked": Kind(401, UNAUTHENTICATED),
    "key_expired": Kind(401, UNAUTHENTICATED),
    "scope_missing": Kind(403, DENIED),
    "purpose_required": Kind(403, DENIED),
    "own_telemetry": Kind(403, DENIED),
    "content_type_unsupported": Kind(415, INVALID),
    "content_encoding_unsupported": Kind(415, INVALID),
    "body_undecodable": Kind(400, INVALID),
    "body_truncated": Kind(400, INVALID),
    "compression_broken": Kind(400, INVALID),
    "nesting_too_deep": Kind(400, INVALID),
    "body_too_large": Kind(413, EXHAUSTED),
    "too_many_items": Kind(413, EXHAUSTED),
    "too_many_values": Kind(413, EXHAUSTED),
    "quota_exceeded": Kind(429, EXHAUSTED),
    "method_not_allowed": Kind(405, UNIMPLEMENTED),
    "not_found": Kind(404, NOT_FOUND),
    "signal_unsupported": Kind(404, UNIMPLEMENTED),
    "parameter_invalid": Kind(400, INVALID),
    "query_timeout": Kind(504, DEADLINE),
    "not_sealed_yet": Kind(409, NOT_NOW),
    "log_contradicted": Kind(409, NOT_NOW),
    "evidence_unreadable": Kind(409, NOT_NOW),
    "overloaded": Kind(503, UNAVAILABLE),
    "store_unavailable": Kind(503, UNAVAILABLE),
    "store_unsafe": Kind(503, UNAVAILABLE),
    "internal": Kind(503, UNAVAILABLE),
    # what retention refuses; nothing was changed
    "scope_empty": Kind(400, INVALID),
    "below_floor": Kind(409, NOT_NOW),
    "high_risk": Kind(409, NOT_NOW),
    "second_person": Kind(409, NOT_NOW),
    "held": Kind(409, NOT_NOW),
    "not_due": Kind(409, NOT_NOW),
    "derive_behind": Kind(409, NOT_NOW),
    "count_differs": Kind(409, NOT_NOW),
    "state_conflict": Kind(409, NOT_NOW),
    # what exports refuse; nothing was written
    "export_empty": Kind(409, NOT_NOW),
    "export_store_failed": Kind(503, NOT_NOW),
    "export_wrong": Kind(400, INVALID),
    # one item is quarantined; its neighbours are stored
    "item_undecodable": Kind(400, INVALID),
    "trace_id_invalid": Kind(400, INVALID),
    "span_id_invalid": Kind(400, INVALID),
    "field_invalid": Kind(400, INVALID),
    "field_missing": Kind(400, INVALID),
    "item_too_deep": Kind(400, INVALID),
}


class Problem(Exception):
    """An answer other than success. `message` says what, which value and what to do; it never carries stored content.

    retry_after: whole seconds, 1 to 3, only on codes that a client may repeat (contract, "Ingest").
    """

    def __init__(self, code: str, message: str, *, retry_after: int | None = None, detail: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.kind = CODES[code]
        self.detail = detail or {}
        self.retry_after = retry_after if retry_after is not None else (1 if self.kind.http == 503 else None)
