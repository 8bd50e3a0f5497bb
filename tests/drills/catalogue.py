"""Owns the table of drills."""

from __future__ import annotations

from typing import Final, NamedTuple


class Drill(NamedTuple):
    removed: str


DRILLS: Final[dict[str, Drill]] = {
    "kills": Drill("commit first"),
    "postmaster": Drill("flush"),
    "stopped": Drill("503"),
    "stopped for long": Drill("503"),
    "slow": Drill("time-out"),
    "conflicts": Drill("retry"),
    "cut": Drill("primary key"),
    "disk full": Drill("503"),
    "changed": Drill("digests"),
    "no partition": Drill("partition"),
    "open transaction": Drill("horizon"),
}
