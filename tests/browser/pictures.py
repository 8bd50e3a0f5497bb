"""Owns the pictures of every page, to be looked at: `python -m tests.browser.pictures FOLDER`, light and dark, wide and narrow."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.browser import cases
from tests.browser.visiting import log_in
from tests.service import ROOT, Service
from tests.story.chromium import PATH

HIGHEST = 3000  # pixels of one picture
# Steps out of sight are not laid out (decision.css), and come into sight a frame after whoever looks.
WHOLE = "document.querySelectorAll('.steps .row').forEach(row => { row.style.contentVisibility = 'visible' })"


def places(service: Service) -> dict[str, str]:
    decisions = {f"decision-{size}": f"/sessions/{cases.key_of(service, size)}" for size in cases.SIZES}
    (credit,) = service.get("/api/v1/sessions?session_id=sess-pydantic-ai-v5-refund")["results"]
    event = service.get(f"/api/v1/events?session={credit['key']}&limit=20")["results"][-1]["id"]
    return {
        "search-hits": "/?q=INITECH-0042",
        "search-all": "/",
        "search-sessions": "/?view=sessions",
        "search-none": "/?customer_id=NOBODY",
        "search-error": "/?trace_id=zz&customer_id=ACME-2024",
        "search-sentence": "/?customer_id=ACME-2024&amount_min=400&tool=issue_credit&from=2026-01-01",
        "search-part": "/?customer_id=ACME-2024&tool=nothing&when=7d",
        "searches": "/searches",
        **decisions,
        "decision-credit": f"/sessions/{credit['key']}",
        "why": f"/sessions/{cases.key_of(service, 20)}/why/14",
        "instructions": f"/sessions/{credit['key']}/instructions",
        "dossier": f"/sessions/{credit['key']}/dossier",
        "event": f"/events/{event}",
        "agents": "/agents",
        "log": "/log",
        "quarantine": "/quarantine",
        "retention": "/retention?customer_id=ACME-2024",
        "retention-preview": "/retention/preview?class=1&days=90",
        "erasures": "/retention/erasures?customer_id=ACME-2024",
        "erasure": "/retention/erasures/1",
        "erasure-decided": "/retention/erasures/2",
        "exports": "/exports?customer_id=ACME-2024",
        "access": "/access",
        "settings": "/settings",
        "settings-key": "/settings/keys/1",
        "settings-member": "/settings/members/1",
        "not-found": "/sessions/nope",
        "reference": "/api/v1/docs",
    }


def exported(service: Service, folder: Path) -> dict[str, str]:
    """Pages of an export, as whoever gets it opens them."""
    for_whom = ["--recipient", "Outside counsel", "--purpose", "Case 7", "--format", "html"]
    manage(service, "export", "--to", str(folder), *for_whom)
    session = max((folder / "sessions").glob("*.html"), key=lambda page: page.stat().st_size)
    return {"export-index": (folder / "index.html").as_uri(), "export-session": session.as_uri()}


def asked_to_erase(service: Service) -> None:
    """A request that is open, and one that was carried out."""
    said = ["--by", "operator", "--reason", "Letter 12"]
    for scope in ("customer_id=ACME-2024", "session_id=sess-pydantic-ai-v5-refund"):
        manage(service, "erase", "default", "--request", scope, *said, "--basis", "GDPR, Art. 17", "--asked-by", "letter 12")
    service.settle()
    manage(service, "erase", "default", "--decide", "2", "--outcome", "refuse", *said)
    manage(service, "erase", "default", "--carry-out", "2")


def kept_longer(service: Service) -> None:
    why = ["--class", "2", "--reason", "Contract with Example Corp., section 9: six years.", "--by", "operator"]
    manage(service, "retention", "--reclassify", "default", "agent=refund_agent", "customer_id=ACME-2024", *why)


def manage(service: Service, *command: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "manage.py"), *command], cwd=ROOT, env=service.env, check=True, capture_output=True)


def take(browser: Browser, service: Service, folder: Path, made: dict[str, str]) -> None:
    first = browser.new_context(base_url=service.first_run["url"])
    log_in(first, service)
    state: Any = first.storage_state()
    for scheme in ("light", "dark"):
        for width in (1440, 390):
            look: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
            context = browser.new_context(base_url=service.first_run["url"], storage_state=state, **look)
            page = context.new_page()
            for name, path in (places(service) | made).items():
                page.goto(path)
                page.evaluate(WHOLE)
                height = min(HIGHEST, int(page.evaluate("document.documentElement.scrollHeight")))
                clip: Any = {"x": 0, "y": 0, "width": width, "height": height}
                page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True, clip=clip)
            context.close()
            stranger = browser.new_context(base_url=service.first_run["url"], **look)
            page = stranger.new_page()
            page.goto("/login")
            page.screenshot(path=folder / f"login-{scheme}-{width}.png")
            stranger.close()


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "var/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    service = Service(demo=True)
    try:
        service.start()
        while "demo sessions are loaded" not in service.log.read_text():
            time.sleep(0.2)
        cases.load(service)
        service.settle()
        while service.get("/api/v1/status")["stale_summaries"]:
            time.sleep(0.2)
        asked_to_erase(service)
        kept_longer(service)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu"])
            with tempfile.TemporaryDirectory() as export:
                take(browser, service, folder, exported(service, Path(export) / "7"))
            browser.close()
    finally:
        service.remove()


if __name__ == "__main__":
    main()
