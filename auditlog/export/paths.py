"""Owns paths of many leaves to one checkpoint, asked for in the order of the log: what neighbours share is read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg

from auditlog.proof import tree
from auditlog.seal.log import Contradiction, Log

_KEPT: Final = 50_000  # nodes, about 150 bytes each


class Paths:
    """Paths in the tree of the first `size` leaves."""

    def __init__(self, conn: psycopg.Connection[Any], size: int) -> None:
        self.size = size
        self._read = Log(conn).nodes(size)
        self._kept: dict[tree.Node, bytes] = {}

    def root(self) -> bytes:
        return tree.root(self.size, self._nodes)

    def of(self, index: int) -> list[bytes]:
        """The hashes that lead from a leaf to the root. Raises LookupError for a leaf that is not there."""
        try:
            return tree.inclusion(index, self.size, self._nodes)
        except Contradiction as error:
            raise LookupError(f"leaf {index} of {self.size} has no path: {error}") from error

    def _nodes(self, wanted: Sequence[tree.Node]) -> list[bytes]:
        if missing := [node for node in wanted if node not in self._kept]:
            if len(self._kept) > _KEPT:
                self._kept.clear()
                missing = list(wanted)
            self._kept.update(zip(missing, self._read(missing), strict=True))
        return [self._kept[node] for node in wanted]
