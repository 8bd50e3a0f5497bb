"""Owns the pages that go with an export: a session each, and their index, each whole in one file with nothing from elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from auditlog.export.forms.sessions import Page
from auditlog.web import present
from auditlog.web.dossier.annex import of_timeline
from auditlog.web.dossier.parts import Budget, Clock

# What a browser can still show. A longer session says on its page what is left out; the records have all of it.
STEPS: Final = 20_000
CHARACTERS: Final = 20_000_000
LONGEST: Final = 1_000_000  # characters of one text
STYLES: Final = ("tokens.css", "page.css", "dossier.css", "handed.css")
CLOCK: Final = Clock(UTC, "UTC")


@functools.cache
def _style() -> SafeString:
    """Our own files, which hold no stored text."""
    found = (finders.find(name) for name in STYLES)
    return SafeString("".join(Path(str(path)).read_text() for path in found))


class Pages:
    """As auditlog.export.forms.sessions.Renderer asks for it."""

    def session(self, page: Page) -> bytes:
        timeline = page.timeline
        sections = () if timeline is None else of_timeline(timeline, CLOCK, Budget(CHARACTERS, LONGEST), STEPS)
        context = {
            "page": page,
            "name": page.key if timeline is None else timeline["session_id"] or page.key,
            "facts": () if timeline is None else _facts(timeline),
            "sections": sections,
            "style": _style(),
            "made_at": CLOCK.local(page.made_at),
        }
        return _bytes(render_to_string("handed_session.html", context))

    def index(self, project: str, made_at: str, rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
        """Row by row: there may be a million."""
        context = {"project": project, "made_at": CLOCK.local(made_at), "style": _style()}
        before, after = render_to_string("handed_index.html", context).split("<!--rows-->")
        yield _bytes(before)
        for row in rows:
            row |= {"at": CLOCK.local(row["started_utc"]), "trail": present.VERDICTS.get(row["trail"], row["trail"] or "")}
            yield _bytes(render_to_string("_handed_row.html", {"row": row}))
        yield _bytes(after)


def _facts(timeline: dict[str, Any]) -> list[tuple[str, str]]:
    totals = timeline["totals"]
    verdict = timeline["completeness"]["verdict"]
    agents = [f"{one['name']} {one['version'] or ''}".strip() for one in timeline["agents"] if one["name"]]
    return [
        ("began", CLOCK.local(timeline["started_at"])),
        ("ended", CLOCK.local(timeline["ended_at"])),
        ("agents", ", ".join(agents) or "not recorded"),
        ("customers", ", ".join(timeline["customer_ids"]) or "not recorded"),
        ("users", ", ".join(timeline["user_ids"]) or "not recorded"),
        ("steps", f"{len(timeline['steps']):,}, {totals['model_calls']:,} model calls, {totals['tool_calls']:,} tool calls"),
        ("trail", present.VERDICTS.get(verdict, verdict)),
    ]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # half a character was made visible before; UTF-8 has none
