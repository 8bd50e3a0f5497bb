"""Owns the tree of spans: who encloses whom, safely for cycles, unknown parents and a hundred thousand children."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from auditlog.vocabulary import Where

Key = tuple[str, str]


def key_of(where: Where) -> Key:
    """The span that a fact belongs to; a log record belongs to the span it was emitted in; what has no span is its own."""
    return (where.trace_id, where.span_id) if where.span_id else ("", where.event_id)


class Tree:
    def __init__(self, wheres: Iterable[Where]) -> None:
        self.parents: dict[Key, Key] = {}
        self.spans: dict[Key, Where] = {}
        for where in wheres:
            if where.log or not where.span_id:
                continue
            key = key_of(where)
            if key not in self.spans or (where.start, where.event_id) < (self.spans[key].start, self.spans[key].event_id):
                self.spans[key] = where
                if where.parent_id:
                    self.parents[key] = (where.trace_id, where.parent_id)
        self._depth: dict[Key, int] = {}

    def orphans(self) -> list[Where]:
        """Spans whose parent was never received."""
        return [self.spans[k] for k, parent in self.parents.items() if parent not in self.spans]

    def nearest(self, key: Key, wanted: Container[Key], memo: dict[Key, Key | None]) -> Key | None:
        """The closest enclosing span that is wanted; None at the root, at an unknown parent and in a cycle. One memo per `wanted`."""
        path: list[Key] = []
        seen = {key}
        here = self.parents.get(key)
        found: Key | None = None
        while here is not None and here not in seen:
            if here in wanted:
                found = here
                break
            if here in memo:
                found = memo[here]
                break
            seen.add(here)
            path.append(here)
            here = self.parents.get(here)
        for step in path:
            memo[step] = found
        return found

    def around(self, key: Key, most: int) -> Iterator[Key]:
        """The spans that enclose this one, from the inside out."""
        seen = {key}
        here = self.parents.get(key)
        while here is not None and here not in seen and len(seen) <= most:
            yield here
            seen.add(here)
            here = self.parents.get(here)

    def depth(self, key: Key) -> int:
        path: list[Key] = []
        seen: set[Key] = set()
        here: Key | None = key
        while here is not None and here not in seen and here not in self._depth:
            seen.add(here)
            path.append(here)
            here = self.parents.get(here)
        base = self._depth.get(here, 0) if here is not None else -1
        for n, step in enumerate(reversed(path), 1):
            self._depth[step] = base + n
        return self._depth[key]
