"""Owns how the service's own telemetry is marked, so that no receiver of its kind stores it, or counts or traces what comes straight.

Stored, each export would be a request that is traced, whose trace is exported: a store that fills itself.
"""

from __future__ import annotations

from typing import Final

HEADER: Final = "x-auditlog-own-telemetry"  # of every export; also gRPC metadata
ATTRIBUTE: Final = "auditlog.own_telemetry"  # of its resource, which stays where a Collector stands between and makes headers of its own
CODE: Final = "own_telemetry"  # what a receiver answers
