"""Owns which errors were told already: one that climbs through the spans around it is one error, not one per span."""

from __future__ import annotations

from collections import defaultdict

from auditlog.reconstruct.keys import flat
from auditlog.reconstruct.tree import Key, Tree

MOST = 20  # errors remembered per span
WORDLESS = "error"  # what stands for the words of a span that only says that it failed
TRACE = "Traceback (most recent call last)"
HIGHEST = 200  # enclosing spans that an error is remembered for


class Told:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.inside: dict[Key, list[str]] = defaultdict(list)
        self.own: dict[Key, list[str]] = defaultdict(list)  # of spans that told an error themselves

    def tell(self, key: Key, text: str) -> None:
        """An error of this span, which the spans around it may repeat."""
        said = _words(text)
        if len(self.own[key]) < MOST:
            self.own[key].append(said)
        for outer in (key, *self.tree.around(key, HIGHEST)):
            if len(self.inside[outer]) < MOST:
                self.inside[outer].append(said)

    def knows(self, key: Key, text: str) -> bool:
        said = _words(text)
        if said == WORDLESS and (self.inside.get(key) or next(self.tree.around(key, 1), None) in self.own):
            return True  # what is inside has said what went wrong, or the call whose transport this is
        return any(known in said or said in known for known in self.inside.get(key, ()) if known)

    def explains(self, key: Key, kind: str) -> bool:
        """Whether a span around this one failed and named this kind of error: the request inside it is how it failed."""
        said = flat(kind)
        return bool(said) and any(said in known for outer in self.tree.around(key, HIGHEST) for known in self.own.get(outer, ()))


def _words(text: str) -> str:
    """What went wrong, without the way that it took through the program: each span around has more of that."""
    return flat(text.split(TRACE, 1)[0]) or flat(text)
