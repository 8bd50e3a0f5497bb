"""Owns the story of evidence that outlives an installation: exported there, imported here, read as it was, and proven by both logs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import ROOT, Service


def manage(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, env=service.env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """An export of the demo's installation, which is gone then, and the timelines that it showed."""
    service = Service(demo=True)
    target = tmp_path_factory.mktemp("exports") / "all"
    try:
        service.start()
        while "demo sessions are loaded" not in service.log.read_text():
            time.sleep(0.2)
        service.settle()
        service.sealed()
        shown = timelines(service)
        done = manage(service, "export", "--to", str(target), "--recipient", "Us", "--purpose", "Moving", "--format", "jsonl")
        assert done.returncode == 0, done.stderr
        own = manage(service, "import", "--export", str(target))
        assert own.returncode == 1 and "state_conflict: A log of this very installation" in own.stderr
    finally:
        service.remove()
    yield target, shown


def timelines(service: Service) -> dict[str, Any]:
    found = service.get("/api/v1/sessions?limit=200")["results"]
    return {one["key"]: service.get(f"/api/v1/sessions/{one['key']}/timeline") for one in found}


def test_evidence_of_an_installation_that_is_gone_reads_and_proves_as_it_did(folder: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    target, shown = folder
    here = Service()
    try:
        here.start()
        brought = manage(here, "import", "--export", str(target))
        assert brought.returncode == 0, brought.stderr
        again = manage(here, "import", "--export", str(target))
        assert again.returncode == 0 and "0 events stored" in again.stdout, again.stderr
        here.settle()
        here.sealed()
        assert len(shown) > 10 and timelines(here) == shown
        whole = manage(here, "verify")
        assert whole.returncode == 0, whole.stdout + whole.stderr
        origins = manage(here, "verify", "--origins")
        assert origins.returncode == 0 and "0 of its parts are not here" in origins.stdout, origins.stdout + origins.stderr
        made = manage(here, "export", "--to", str(tmp_path / "next"), "--recipient", "Them", "--purpose", "Proof", "--format", "jsonl")
        assert made.returncode == 0, made.stderr
        checked = subprocess.run(
            [sys.executable, "-I", "verify.py", "."], cwd=tmp_path / "next", capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout
        with here.connect() as conn:
            changed = conn.execute(
                "UPDATE event e SET skeleton = set_byte(skeleton, length(skeleton) - 1, get_byte(skeleton, length(skeleton) - 1) # 1) "
                "FROM batch b WHERE b.batch_no = e.batch_no AND b.protocol = 7 AND (e.trace_key, e.event_id) = "
                "(SELECT e2.trace_key, e2.event_id FROM event e2 JOIN batch b2 USING (batch_no) WHERE b2.protocol = 7 LIMIT 1)"
            )
            assert changed.rowcount == 1
        forged = manage(here, "verify", "--origins")
        assert forged.returncode == 1 and "is not what was sealed there" in forged.stdout, forged.stdout
    finally:
        here.remove()
