"""Owns a compliance officer's path in a browser: hold, export, download, verify, release, preview of a deletion, certificate."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from psycopg.types.json import Jsonb

from tests.browser.visiting import Watched
from tests.service import ROOT, Service

CLASS = 9_500
STORE = """
import json, sys, django
django.setup()
from datetime import datetime
from auditlog.ingest.rest import event
from auditlog.models import Project
from auditlog.secrets import unwrap
from auditlog.store.connect import writer_connection
from auditlog.store.writer import Project as Stored, Writer
row = Project.objects.get()
writer = Writer(writer_connection)
items = [event(json.dumps(one).encode()) for one in json.loads(sys.argv[2])]
stored = Stored(row.pk, unwrap(bytes(row.secret_wrapped)), int(sys.argv[3]), "day", 1)
writer.write(stored, items, key_id=None, protocol=1, received_at=datetime.fromisoformat(sys.argv[1]))
"""


def run(service: Service, *command: str) -> str:
    env = service.env | {"DJANGO_SETTINGS_MODULE": "auditlog.settings", "AUDITLOG_DATABASE_ROLE": "web"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def period(service: Service) -> str:
    """Two conversations that were received four days ago in a class that keeps for one: that day is due. Its name on the page."""
    with service.connect() as conn:
        conn.execute(
            "INSERT INTO retention_class (class_no, version, name, days, basis, created_by, in_force_at) "
            "VALUES (%s, 1, 'A day', 1, 'none', %s, now())", (CLASS, Jsonb({"kind": "service", "id": "test", "name": "test"})),
        )  # fmt: skip
    at = datetime.now(UTC) - timedelta(days=4)
    said = [
        {
            "kind": "model_call",
            "session_id": f"matter-{name}",
            "at": "2020-01-02T10:00:00Z",  # or the search page of other tests would show the last days that have data: these
            "input": [{"role": "user", "content": f"{name} " * 99}],
        }
        for name in ("kept", "gone")
    ]
    run(service, "-c", STORE, at.isoformat(), json.dumps(said), str(CLASS))
    service.settle()
    service.sealed()
    return f"{at:%-d %b %Y}"


def hold(page: Page, watched: Watched) -> None:
    watched.visit("/retention")
    page.get_by_text("Place a hold").click()
    holds = page.get_by_role("region", name="Legal holds")
    holds.get_by_label("Name of the hold").fill("Matter 7")
    holds.get_by_label("Reason", exact=True).fill("Subpoena")
    holds.get_by_label("Session", exact=True).fill("matter-kept")
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_text("The hold “Matter 7” stands.")).to_be_visible()


def export(page: Page) -> None:
    page.get_by_role("link", name="Exports").click()
    page.get_by_label("Export", exact=True).select_option(label="what the hold “Matter 7” holds")
    page.get_by_label("Recipient").fill("Outside counsel")
    page.get_by_label("Purpose").fill("Matter 7")
    page.get_by_role("button", name="Export", exact=True).click()
    row = page.get_by_role("row").filter(has_text="Outside counsel")
    page.evaluate("window.here = true")
    expect(row.get_by_role("link", name="Download")).to_be_visible(timeout=60_000)
    assert page.evaluate("window.here"), "the row kept itself up to date, without a load of the page"
    expect(row).to_contain_text("1 event")


def download(page: Page, folder: Path) -> None:
    with page.expect_download() as found:
        page.get_by_role("link", name="Download").click()
    with zipfile.ZipFile(found.value.path()) as archive:
        archive.extractall(folder)
    (inside,) = folder.iterdir()
    checked = subprocess.run([sys.executable, "-I", "verify.py", "."], cwd=inside, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and "1 event" in checked.stdout, checked.stdout + checked.stderr


def release(page: Page) -> None:
    page.get_by_text("Release", exact=True).click()
    page.get_by_label("What was disclosed").fill("One conversation")
    page.get_by_role("button", name="Record the release").click()
    expect(page.get_by_role("listitem").filter(has_text="Released to Outside counsel")).to_contain_text("One conversation")


def test_from_a_hold_to_a_certificate(operator: BrowserContext, service: Service, period: str, tmp_path: Path) -> None:
    with Watched(operator, service.first_run["url"]) as watched:
        page = watched.page
        hold(page, watched)
        export(page)
        download(page, tmp_path)
        release(page)
        page.get_by_role("link", name="Retention").click()
        due = page.get_by_role("row").filter(has_text=re.compile(rf"{period} to .*due since", re.S))
        command = due.get_by_role("code").inner_text().split()
        assert command[:3] == ["manage.py", "dispose", "--propose"]
        preview = json.loads(run(service, "manage.py", "dispose", "--dry-run", command[3]))
        assert preview["due"] and [(one["name"], one["traces"]) for one in preview["holds"]] == [("Matter 7", 1)]
        proposed = run(service, *command)
        number = re.search(r"Disposition (\d+) is proposed", proposed)
        assert number, proposed
        run(service, "manage.py", "dispose", "--execute", number[1], "--by", service.first_run["username"])
        page.reload()
        expect(page.get_by_role("row").filter(has_text=f"certificate {number[1]}")).to_contain_text("executed")
        assert watched.problems == []
    assert service.get("/api/v1/sessions?session_id=matter-gone")["results"] == []
    assert len(service.get("/api/v1/sessions?session_id=matter-kept")["results"]) == 1
