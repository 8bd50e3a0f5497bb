"""Owns the protections that can be taken away, to see each drill fail: `pytest tests/drills --unprotected`.

Those in the code are taken away by `sitecustomize` of this folder, in every process of the service; those in the database by statements.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "DRILL_WITHOUT"
STATEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "primary key": ("ALTER TABLE event DROP CONSTRAINT event_pkey",),
    "fsync": ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"),
}


def environment(without: str) -> dict[str, str]:
    """Of a service from which this protection is taken."""
    if not without:
        return {}
    here = Path(__file__).resolve().parent
    allowed = {"AUDITLOG_UNSAFE_DATABASE": "1"}  # a setting that loses data would be refused, which is another protection
    return allowed | {VARIABLE: without, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[2])])}
