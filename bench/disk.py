"""Owns the measurement of disk: KiB per session of 10, 30 and 100 model calls, as stored, indexes and batch rows included.

    python -m bench.disk [--json out.json]

Writes through the store itself into an embedded PostgreSQL, no HTTP; with compact JSON and with Python's separators.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from auditlog.ingest.decode import decode
from auditlog.item import SPAN
from auditlog.platform.embedded import Embedded
from auditlog.store.writer import Project, Writer
from bench.counted import DISK
from bench.generate import Load, bodies

TARGETS = {10: 70, 30: 215, 100: 740}  # KiB per session
SESSIONS = {10: 200, 30: 80, 100: 30}
ROOT = Path(__file__).parents[1]


def per_session(url: str, turns: int, spaced: bool) -> float:
    """KiB per session in a database of its own."""
    name = f"disk_{turns}_{int(spaced)}"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    own = psycopg.conninfo.make_conninfo(url, dbname=name)
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "migrate"], env=os.environ | {"DATABASE_URL": own}, check=True, capture_output=True
    )
    writer, project = Writer(lambda: psycopg.connect(own)), Project(1, secrets.token_bytes(32), 1, "month")
    for _, body in bodies(Load(SESSIONS[turns], batch=64, turns=turns, spaced=spaced)):
        writer.write(project, decode(body, SPAN, "protobuf"), key_id=None, protocol=1, received_at=datetime.now(UTC))
    writer.close()
    with psycopg.connect(own) as conn:
        row = conn.execute(DISK).fetchone()
    assert row
    return float(row[0]) / 1024 / SESSIONS[turns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="auditlog-disk-"))
    folder.chmod(0o711)
    server = Embedded(folder)
    server.start()
    results = []
    try:
        for turns, target in TARGETS.items():
            for spaced in (False, True):
                size = per_session(server.url, turns, spaced)
                results.append({"turns": turns, "python_separators": spaced, "kib_per_session": round(size, 1), "target": target})
                print(json.dumps(results[-1]))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        Path(given.json).write_text(json.dumps(results, indent=1) + os.linesep)


if __name__ == "__main__":
    main()
