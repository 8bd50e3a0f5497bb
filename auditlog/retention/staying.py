"""Owns what of a bucket stays when it is disposed of: what is held, what waits for its event, and what is kept as a longer class says."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import psycopg

from auditlog.retention import clocks, reclassify
from auditlog.retention.holds import Held, held, standing


class Staying(NamedTuple):
    """places: (project, trace key) of all that stays, with the holds that hold it. The others are JSON, as a certificate has them.

    holds: all that stand, longer: all that ask for more than the bucket's class, each with its traces here. waiting: project to how many
    traces stay for nothing but their clock.
    """

    places: Held
    holds: list[dict[str, Any]]
    longer: list[dict[str, Any]]
    waiting: dict[str, int]


def staying(conn: psycopg.Connection[Any], bucket: int) -> Staying:
    """At this moment."""
    waiting = clocks.waiting(conn, bucket)
    by_class = reclassify.longer(conn, bucket)
    longer = {place for _, places in by_class for place in places}
    places = {place: frozenset[int]() for place in waiting | longer} | held(conn, bucket)
    by_hold = [
        {"hold": hold.id, "project": hold.project_id, "name": hold.name, "traces": sum(hold.id in ids for ids in places.values())}
        for hold in standing(conn)
    ]
    only_waiting = Counter(str(place[0]) for place, by in places.items() if not by and place not in longer)
    return Staying(places, by_hold, [reclassify.told(each, places) for each, places in by_class], dict(only_waiting))
