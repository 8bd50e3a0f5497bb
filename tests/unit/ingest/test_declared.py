"""Owns that what senders left out is counted, wherever they say it, and that the service's own telemetry is left out and nothing else."""

from __future__ import annotations

from auditlog import own
from auditlog.ingest.declared import dropped, without_own
from auditlog.ingest.decode import Decoded
from auditlog.item import BOOL, REST, STRING, Context, Item, Link, Log, Rest, Span, SpanEvent, Unreadable
from auditlog.metrics import Dropped

AGENT = Context(resource=[("service.name", STRING, "auditlog")], resource_dropped=1000, scope_dropped=2000)
OWN = Context(resource=[("service.name", STRING, "anything"), (own.ATTRIBUTE, BOOL, True)])


def span(context: Context = AGENT, **more: object) -> Span:
    return Span(context, b"t" * 16, b"s" * 8, "x", 1, 2, [], **more)  # type: ignore[arg-type]


def test_dropped_counts_are_added_up_over_everything_that_may_have_one() -> None:
    items: list[Item] = [
        span(
            dropped_attributes=1, dropped_events=10, dropped_links=100,
            events=[SpanEvent(1, "e", [], 2)], links=[Link(b"t" * 16, b"s" * 8, dropped_attributes=4)],
        ),
        span(),
        Log(AGENT, 1, 1, None, [], dropped_attributes=8),
        Unreadable(REST, "json", b"{", "item_undecodable", "no"),
        Rest([b"{}"], []),
    ]  # fmt: skip
    assert dropped(items) == Dropped(attributes=3015, events=10, links=100)  # resource and scope once for all three


def test_own_telemetry_is_left_out_and_counted_and_its_neighbours_stay_in_order() -> None:
    bad = Unreadable(1, "protobuf", b"x", "item_undecodable", "no")
    first, second = span(), Log(AGENT, 1, 1, None, [])
    found = without_own(Decoded([first, span(OWN), bad, span(OWN), second], 1, "m"))
    assert found == Decoded([first, bad, second], 1, "m", own=2)


def test_a_service_that_is_only_called_auditlog_is_no_less_evidence_than_any_other() -> None:
    found = Decoded([span()])
    assert without_own(found) is found
