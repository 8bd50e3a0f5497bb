"""Owns how much one key may store a second: what it stored is paid off at the rate of its quota, and until then it is refused.

Counted in the memory of each process, so a key is never refused below its quota, and with several processes it may store as many times as
much; that protects the service from one sender, and is no bill. What was refused is not counted: only what was acknowledged is.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from auditlog import conf
from auditlog.errors import Problem

AVERAGED: Final = 10  # seconds: of an exporter that sends what it gathered in five, the average counts
_LONGEST: Final = 3  # seconds of Retry-After; exporters give up altogether when told to wait longer than their patience
_SETTINGS: Final = {"items": "AUDITLOG_QUOTA_ITEMS", "bytes": "AUDITLOG_QUOTA_BYTES"}


class Quotas:
    """Of every key, in one process. Asked from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates: dict[str, int] = {unit: rate for unit, name in _SETTINGS.items() if (rate := conf.get(name))}
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_off: dict[tuple[int, str], float] = {}  # when what a key stored will be paid off; ten seconds' worth is free

    def check(self, key_id: int) -> None:
        """Raises Problem where the key has used its quota up."""
        now = self._clock()
        for unit, rate in self._rates.items():
            wait = self._paid_off.get((key_id, unit), now) - now
            if wait > 0:
                seconds = math.ceil(wait)
                raise Problem(
                    "quota_exceeded",
                    f"The key's quota of {rate} {unit} a second is used up ({_SETTINGS[unit]}); "
                    f"send the batch again in {seconds} s, send less, or ask for a higher quota.",
                    retry_after=min(seconds, _LONGEST),
                    detail={"quota": unit, "per_second": rate},
                )

    def charge(self, key_id: int, items: int, size: int) -> None:
        """Counts what was stored: so many items, from a body of `size` bytes after decompression."""
        now = self._clock()
        with self._lock:
            for unit, rate in self._rates.items():
                used = (items if unit == "items" else size) / rate
                self._paid_off[key_id, unit] = max(self._paid_off.get((key_id, unit), 0), now - AVERAGED) + used
