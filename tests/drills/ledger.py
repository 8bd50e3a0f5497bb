"""Owns what senders know: what they sent, what of it was acknowledged, with which receipt. It lives outside the service, as a client's
memory does.

A span is known by its span ID, which no two of a run share, and by the digest of its attributes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


def digest(attributes: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).digest()[:16]


class Receipt(NamedTuple):
    batch: int
    root: str
    events: int


class Ledger:
    """May be written from any thread."""

    def __init__(self) -> None:
        self.sent: dict[bytes, bytes] = {}  # span ID to digest
        self.acknowledged: set[bytes] = set()
        self.receipts: list[Receipt] = []
        self.answers: Counter[str] = Counter()  # "200", "503", "no answer" and what should never be
        self._lock = threading.Lock()

    def sending(self, spans: Mapping[bytes, Mapping[str, Any]]) -> None:
        """Noted before the first byte leaves: what was cut off may be stored too."""
        digests = {span_id: digest(attributes) for span_id, attributes in spans.items()}
        with self._lock:
            self.sent |= digests

    def told(self, answer: str, spans: Iterable[bytes] = (), receipt: Receipt | None = None) -> None:
        """An answer; `spans` are those that it acknowledged."""
        with self._lock:
            self.answers[answer] += 1
            self.acknowledged.update(spans)
            if receipt is not None:
                self.receipts.append(receipt)
