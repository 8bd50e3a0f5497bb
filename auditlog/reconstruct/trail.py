"""Owns what the items of a session lack in themselves: dropped, sampled, withheld, never received, or at odds with each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from auditlog.reconstruct.gaps import AHEAD, EARLY, Gap, gap
from auditlog.reconstruct.tree import Tree, key_of
from auditlog.vocabulary import Identity, Numbered, Reading, Where

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
MOST_NAMED = 5  # of many holes or names; the count says how many there are


class Said(NamedTuple):
    """What one item declares, with the trace in which it does so."""

    trace_id: str
    identity: Identity


def withheld(readings: Sequence[Reading]) -> int:
    """How many values of these items are not known any more."""
    return sum(r.condition.withheld for r in readings)


def of_items(readings: Sequence[Reading], tree: Tree) -> Iterator[Gap]:
    yield from _dropped(readings)
    yield from _not_received(readings, tree)
    gone = withheld(readings)
    if gone:
        message = f"{gone} values that were recorded are not known any more: they were disposed of, erased, restricted or withheld."
        yield gap("content_withheld", f"{message} Their digests still prove that they were there.", count=gone)
    foreign = sum(1 for r in readings if not r.understood and r.where.log)
    if foreign:
        message = f"{foreign} log records are kept, but in no vocabulary that is understood here."
        yield gap("not_understood", message, count=foreign)
    undated = sum(1 for r in readings if not r.where.trace_id and not r.where.start and not r.understood)
    if undated:
        yield gap("undated", f"{undated} items carry neither a time nor a trace.", count=undated)
    yield from _clocks(readings, tree)


def _dropped(readings: Sequence[Reading]) -> Iterator[Gap]:
    dropped = sum(r.condition.dropped_attributes for r in readings)
    if dropped:
        items = sum(1 for r in readings if r.condition.dropped_attributes)
        yield gap(
            "attributes_dropped",
            f"The sender dropped {dropped} attributes of {items} items before sending them. Set OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT "
            "(and OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT, OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT) higher than its default of 128 at the sender.",
            count=dropped,
        )
    events = sum(r.condition.dropped_events for r in readings)
    if events:
        message = f"The sender dropped {events} events of spans before sending them. Set OTEL_SPAN_EVENT_COUNT_LIMIT higher at the sender."
        yield gap("events_dropped", message, count=events)


def _not_received(readings: Sequence[Reading], tree: Tree) -> Iterator[Gap]:
    orphans = tree.orphans()
    if orphans:
        names = ", ".join(sorted({w.name for w in orphans if w.name})[:3])
        message = f"The parents of {len(orphans)} spans were never received ({names}): still open, sampled away, or sent elsewhere."
        yield gap("parent_missing", f"{message} Let the process that opens them export to the same place.", count=len(orphans))
    kept = min((r.condition.kept for r in readings), default=1.0)
    if kept < 1:
        message = (
            f"The sender keeps only {kept:.4g} of all traces, as its tracestate says: what is not here may have happened all the same."
        )
        yield gap("trace_sampled", f"{message} Set OTEL_TRACES_SAMPLER=always_on at the sender.")
    # A sampler that drops a span cannot stop the log records within it. They are not marked as sampled then, and alone.
    spans = {w.trace_id for w in tree.spans.values()}
    alone = sum(1 for r in readings if r.condition.sampled is False and r.where.trace_id not in spans)
    if alone and not kept < 1:
        message = f"No span was received of the traces of {alone} log records, which are not marked as sampled."
        yield gap("trace_sampled", f"{message} Set OTEL_TRACES_SAMPLER=always_on and export spans, too.", count=alone)


def _clocks(readings: Sequence[Reading], tree: Tree) -> Iterator[Gap]:
    backwards = {key_of(r.where) for r in readings if not r.where.log and 0 < r.where.end < r.where.start}
    if backwards:
        message = f"{len(backwards)} items end before they begin: a clock was set back, or start and end are of two clocks."
        yield gap(
            "clock_end_before_start",
            f"{message} Their duration says nothing. Let the sender use one monotonic clock.",
            count=len(backwards),
        )
    early = [k for k, p in tree.parents.items() if p in tree.spans and 0 < tree.spans[k].start < tree.spans[p].start - EARLY]
    if early:
        names = ", ".join(sorted({tree.spans[k].name for k in early} - {""})[:3])
        message = f"{len(early)} spans begin long before the span that contains them ({names}): two clocks contradict each other."
        yield gap("clock_child_before_parent", f"{message} Synchronise the clocks of the machines.", count=len(early))
    ahead = {r.where.event_id: by for r in readings if (by := _ahead(r.where)) > AHEAD}
    if ahead:
        message = f"{len(ahead)} items are dated up to {_long(max(ahead.values()))} later than they were received: a clock is ahead."
        hint = "They are shown at their own times. Synchronise the sender's clock."
        yield gap("clock_after_receipt", f"{message} {hint}", count=len(ahead))


def _ahead(where: Where) -> int:
    """Nanoseconds by which an item is dated later than it was received; what has happened was received after it."""
    return max(where.start, where.end) - (where.received_at - _EPOCH) // _MICROSECOND * 1000


def _long(nanoseconds: int) -> str:
    """A span of time to one figure that matters."""
    seconds = nanoseconds // 10**9
    for name, length in (("day", 86_400), ("hour", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds // length:,} {name}s"
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"


# -- identity ------------------------------------------------------------------------------------------------------------------


def of_identity(said: Iterable[Said]) -> Iterator[Gap]:
    """Two values under one and the same key within one trace: the most explicit key, so that nobody can know which one is meant."""
    found: dict[tuple[str, str], dict[tuple[int, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    for trace_id, identity in said:
        sides = (("session", identity.sessions), ("user", identity.users), ("customer", identity.customers))
        for kind, declared in sides if trace_id else sides[2:]:  # several people may take part in a session; a trace is one piece of work
            for one in declared:
                found[kind, trace_id][one.rank, one.key].add(one.value)
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (kind, _), by_key in found.items():
        best = min(by_key)
        if len(by_key[best]) > 1:
            told[kind, best[1]] |= by_key[best]
    for (kind, key), values in sorted(told.items()):
        shown = ", ".join(value[:80] for value in sorted(values)[:MOST_NAMED])
        message = f"One trace names {len(values)} different values of `{key}`, which says whose {kind} it is: {shown}."
        yield gap("identity_contradictory", f"{message} Send one value per trace.", count=len(values))


# -- the sender's own count ----------------------------------------------------------------------------------------------------


class Counted(NamedTuple):
    gaps: list[Gap]
    proven: bool


def of_sequence(readings: Sequence[Reading]) -> Counted:
    """Holes in the sender's count. Proven: every item is counted, no number is missing, and the sender said how many there are."""
    counted = [[f for f in r.facts if isinstance(f, Numbered)] for r in readings]
    facts = [f for found in counted for f in found]
    if not facts:
        return Counted([], False)
    series = _series(facts)
    gaps = [g for sender, found in sorted(series.items()) for g in _holes(sender if len(series) > 1 else "", found)]
    closed = all(_total(found) is not None for found in series.values())
    return Counted(gaps, closed and not gaps and all(counted))


def _series(facts: Sequence[Numbered]) -> dict[str, list[Numbered]]:
    """One count for the session; where numbers repeat, each agent has a count of its own."""
    if len({f.number for f in facts}) == len(facts):
        return {"": list(facts)}
    out: dict[str, list[Numbered]] = defaultdict(list)
    for fact in facts:
        out[fact.sender].append(fact)
    return out


def _total(found: Sequence[Numbered]) -> int | None:
    return max((f.count for f in found if f.count is not None), default=None)


def _holes(sender: str, found: Sequence[Numbered]) -> Iterator[Gap]:
    numbers = sorted({f.number for f in found})
    whose = f" of {sender}" if sender else ""
    first, total = 0 if numbers[0] == 0 else 1, _total(found)
    last = max(numbers[-1], first + total - 1) if total is not None else numbers[-1]
    missing = (last - first + 1) - sum(1 for n in numbers if n >= first)
    if missing > 0:
        named = ", ".join(_ranges([first - 1, *(n for n in numbers if n >= first), last + 1]))
        message = f"{missing} events{whose} are missing by the sender's own count: number {named}."
        yield gap("sequence_hole", f"{message} Send them again; an event that was stored before is not stored twice.", count=missing)
    repeated = len(found) - len(numbers)
    if repeated:
        message = f"{repeated} numbers{whose} were given to more than one event."
        yield gap("sequence_repeated", f"{message} Count each session's events in one place, and send each with an `id`.", count=repeated)
    if total is not None and total != last - first + 1:
        message = f"The sender{whose} says that there are {total} events, but counted up to {last}."
        yield gap("sequence_count_wrong", f"{message} Send `sequence_count` with the last event.")


def _ranges(numbers: Sequence[int]) -> list[str]:
    """The first few ranges between numbers that do not follow each other."""
    holes = [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]
    shown = [str(a) if a == b else f"{a} to {b}" for a, b in holes[:MOST_NAMED]]
    return [*shown, "…"] if len(holes) > MOST_NAMED else shown
