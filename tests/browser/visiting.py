"""Owns how a page is visited by somebody who watches: nothing may run, fail, open, or ask for anything elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, Response, expect

from tests.service import Service

INSPECT: Final = (Path(__file__).parent / "inspect.js").read_text()
# Before any script of a page: what the policy blocks is noted down.
LISTEN: Final = """addEventListener("securitypolicyviolation", (event) =>
  (window.violations ??= []).push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`), true);"""


def log_in(context: BrowserContext, service: Service) -> None:
    page = context.new_page()
    page.goto(service.first_run["url"] + "/login")
    page.get_by_label("Name").fill(service.first_run["username"])
    page.get_by_label("Password").fill(service.first_run["password"])
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page).not_to_have_url(re.compile("/login"))
    page.close()


class Watched:
    """A page and all that ever went wrong on it."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.origin = origin
        self.problems: list[str] = []
        self.navigations = 0
        self.page: Page = context.new_page()
        self.page.add_init_script(LISTEN)
        self.page.on("dialog", self._dialog)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("popup", lambda popup: self.problems.append(f"window: {popup.url}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("framenavigated", self._navigated)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.page.close()

    def _dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: ConsoleMessage) -> None:
        # The browser itself says so of a page that is answered with 400 or 404.
        if message.type in ("error", "warning") and not message.text.startswith(
            "Failed to load resource: the server responded with a status of 4"
        ):
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(f"{self.origin}/"):
            self.problems.append(f"request: {request.url}")

    def _navigated(self, frame: Any) -> None:
        self.navigations += 1

    def visit(self, path: str) -> Response:
        before = self.navigations
        answer = self.page.goto(self.origin + path, wait_until="load")
        assert answer is not None
        self.settled(before + 1, path)
        return answer

    def settled(self, navigations: int, path: str) -> None:
        """Nothing has navigated since, and there is no other frame."""
        if self.navigations != navigations or len(self.page.frames) != 1:
            self.problems.append(f"navigation to {self.page.url}")
        assert self.problems == [], f"{path!r}: {self.problems}"

    def inspect(self, path: str, twin: str = "") -> dict[str, Any]:
        """What the document holds; fails if any of it acts."""
        before = self.navigations
        found: dict[str, Any] = self.page.evaluate(f"({INSPECT.split(chr(10), 1)[1]})", twin)
        assert (found["problems"], found["violations"], found["differs"]) == ([], [], []), (path, found["problems"], found["differs"][:8])
        self.settled(before, path)
        return found
