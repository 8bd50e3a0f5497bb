"""Owns the step from the bytes of a request to items: the fast way for a request that is whole, `salvage` for one that is not."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from auditlog.errors import Problem
from auditlog.ingest import from_json, from_protobuf, limits, salvage
from auditlog.item import Item


class Decoded(NamedTuple):
    items: list[Item]
    rejected: int = 0  # items in quarantine; they are among `items`
    message: str = ""  # what is wrong with the first of them
    own: int = 0  # items that were left out, because they are the service's own telemetry


def decode(body: bytes, signal: int, encoding: str) -> list[Item]:
    """Every item of an OTLP request, in the order sent, unreadable ones included. signal: SPAN or LOG; encoding: protobuf or json."""
    return decode_request(body, signal, encoding).items


def decode_request(body: bytes, signal: int, encoding: str) -> Decoded:
    """Raises Problem where nothing at all can be read, or there is too much; then nothing may be stored."""
    try:
        if encoding == "protobuf":
            limits.protobuf(body, signal)
            return Decoded(from_protobuf.request(body, signal))
        limits.json(body)
        return Decoded(from_json.request(body, signal))
    except RecursionError:
        raise Problem("nesting_too_deep", "The body is nested too deeply to be read; send nested data as JSON text.") from None
    except limits.TooMany:
        raise
    except (from_protobuf.Undecodable, msgspec.DecodeError, UnicodeDecodeError, Problem):
        pass  # at least one item is bad: look at them one by one
    try:
        found = salvage.protobuf(body, signal) if encoding == "protobuf" else salvage.json(body, signal)
    except RecursionError:
        raise Problem("nesting_too_deep", "The body is nested too deeply to be read; send nested data as JSON text.") from None
    if not found.good and not found.boundaries:
        what = "protobuf" if encoding == "protobuf" else "JSON"
        raise Problem("body_undecodable", f"No item can be found in the body; is it an OTLP {what} request?")
    return Decoded(found.items, found.rejected, found.message)
