"""Owns which errors were told already: one that climbs through the spans around it is one error, not one per span."""

from __future__ import annotations

from collections import defaultdict

from auditlog.reconstruct.keys import flat
from auditlog.reconstruct.tree import Key, Tree

MOST = 20  # errors remembered per span
HIGHEST = 200  # enclosing spans that an error is remembered for


class Told:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.inside: dict[Key, list[str]] = defaultdict(list)
        self.own: dict[Key, list[str]] = defaultdict(list)

    def tell(self, key: Key, text: str) -> None:
        """An error of this span, which the spans around it may repeat."""
        said = flat(text)
        if len(self.own[key]) < MOST:
            self.own[key].append(said)
        for outer in (key, *self.tree.around(key, HIGHEST)):
            if len(self.inside[outer]) < MOST:
                self.inside[outer].append(said)

    def knows(self, key: Key, text: str) -> bool:
        said = flat(text)
        return any(known in said or said in known for known in self.inside.get(key, ()) if known)

    def explains(self, key: Key, kind: str) -> bool:
        """Whether a span around this one failed and named this kind of error: the request inside it is how it failed."""
        said = flat(kind)
        return bool(said) and any(said in known for outer in self.tree.around(key, HIGHEST) for known in self.own.get(outer, ()))
