"""Owns how much of a process the requests of one project may take, in number and in bytes, so that there is room for another's.

A project may have as much as is left when it has that: alone half, the next one half of the rest, and so on, so that whoever comes next
finds something free until bodies of the largest size have filled it. What is more is refused at once and for a second, which an exporter's
patience survives; it is never made to wait for others.
"""

from __future__ import annotations

import threading
from typing import Final

from auditlog.errors import Problem


class Gate:
    """Of one process. Asked from any thread.

    most: requests inside at once. room: bytes of their bodies.
    """

    def __init__(self, most: int, room: int) -> None:
        self.most: Final = most
        self.room: Final = room
        self.changed: Final = threading.Condition()
        self.inside: Final[dict[int, _Held]] = {}
        self.held = 0

    def enter(self, project: int) -> Place:
        """Raises Problem where the project has as many requests inside as it may."""
        with self.changed:
            mine = self.inside.get(project) or _Held()
            count = sum(held.requests for held in self.inside.values())
            if count >= self.most or mine.requests >= max(1, self.most - count):
                raise Problem("overloaded", "The project has as many requests under way as it may have at once; send the batch again.")
            mine.requests += 1
            self.inside[project] = mine
        return Place(self, project)


class _Held:
    """What one project has inside."""

    def __init__(self) -> None:
        self.requests = 0
        self.size = 0


class Place:
    """One request inside, and the bytes that are held for it; until `leave`, which may be called twice."""

    def __init__(self, gate: Gate, project: int) -> None:
        self.project: Final = project
        self._gate = gate
        self._size = 0
        self._left = False

    def hold(self, size: int, within: float = 0) -> None:
        """From now on `size` bytes are held in all. Raises Problem where they have no room, nor get it `within` seconds."""
        gate = self._gate
        with gate.changed:
            if size > self._size and not gate.changed.wait_for(lambda: self._fits(size - self._size), within):
                raise Problem(
                    "overloaded", "The service holds as many bytes of bodies as it may, or of this project; send the batch again."
                )
            self._set(size)

    def leave(self) -> None:
        gate = self._gate
        with gate.changed:
            if self._left:
                return
            self._left = True
            self._set(0)
            mine = gate.inside[self.project]
            mine.requests -= 1
            if not mine.requests:
                del gate.inside[self.project]

    def _fits(self, more: int) -> bool:
        gate = self._gate
        return gate.inside[self.project].size + more <= gate.room - gate.held

    def _set(self, size: int) -> None:
        gate = self._gate
        gate.held += size - self._size
        gate.inside[self.project].size += size - self._size
        self._size = size
        gate.changed.notify_all()
