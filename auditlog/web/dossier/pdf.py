"""Owns how a dossier becomes a PDF: its texts as data for the template, set in a process of its own within a time and two at once."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tempfile
import threading
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from auditlog.errors import Problem
from auditlog.web.dossier import glyphs
from auditlog.web.dossier.document import Document
from auditlog.web.dossier.parts import Item, Part

log = logging.getLogger(__name__)

WITHIN: Final = 30.0  # seconds; a session of 300 steps takes two
AT_ONCE: Final = 2
PATIENCE: Final = 5.0  # seconds that a third waits for its turn
CHILD: Final = Path(__file__).with_name("typeset.py")
_turns: Final = threading.BoundedSemaphore(AT_ONCE)


def made(document: Document) -> bytes:
    """The PDF. The same document gives the same bytes. Raises Problem, and then there is none."""
    work = {
        "template": (Path(settings.BASE_DIR) / "templates" / "dossier.typ").read_text(),
        "fonts": [str(Path(folder)) for folder in glyphs.folders()],
        "at": int(datetime.fromisoformat(document.prepared_at).timestamp()),
        "data": data(document),
    }
    if not _turns.acquire(timeout=PATIENCE):
        raise Problem("overloaded", "Other dossiers are being set right now. Nothing was lost; try again in a moment.")
    try:
        return _set(json.dumps(work).encode())
    finally:
        _turns.release()


def _set(work: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as empty:
        try:
            # -I: neither the environment nor the working directory adds code. No variable of ours reaches it.
            done = subprocess.run([sys.executable, "-I", str(CHILD)], input=work, capture_output=True, timeout=WITHIN, env={}, cwd=empty)
        except subprocess.TimeoutExpired:
            log.warning("dossier.timeout", extra={"bytes": len(work)})
            raise Problem(
                "query_timeout",
                f"The PDF was not ready within {WITHIN:g} seconds and was given up. Nothing was lost; the dossier's page can be printed.",
            ) from None
    if done.returncode or not done.stdout.startswith(b"%PDF-"):
        kind = re.match(r"[\w.]+(?=:)", done.stderr.decode(errors="replace").strip().rpartition("\n")[2], re.ASCII)  # never the text itself
        log.error("dossier.not_set", extra={"status": done.returncode, "error_kind": kind[0] if kind else "unknown"})
        raise Problem("internal", "The PDF could not be made. Nothing was lost; the page of the dossier can be printed.")
    return done.stdout


def data(document: Document) -> dict[str, Any]:
    """What the template reads: texts as runs, and nothing that it would have to interpret."""
    return {
        "id": document.id,
        "title": glyphs.paragraphs(document.title),
        "plain_title": _plain(document.title),
        "session": glyphs.paragraphs(document.session),
        "session_short": glyphs.paragraphs(document.session if len(document.session) <= 48 else f"{document.session[:36]}…"),
        "by": glyphs.paragraphs(document.prepared_by),
        "by_plain": _plain(document.prepared_by),
        "at": document.prepared_shown,
        "day": document.prepared_at[:10],
        "fonts": {language or "en": glyphs.families(language) for language in ("", *glyphs.HAN)},
        "mono": {language or "en": glyphs.families(language, mono=True) for language in ("", *glyphs.HAN)},
        "first": [_item(item) for item in document.first],
        "annexes": [
            {"letter": annex.letter, "heading": annex.heading, "items": [_item(item) for item in annex.items]} for annex in document.annexes
        ],
    }


def _plain(text: str) -> str:
    """For the PDF's own properties, which have no frames."""
    return "".join(segment.badge or segment.text for segment in glyphs.spelled(" ".join(text.split())))


def _item(item: Item) -> dict[str, Any]:
    return {
        "heading": glyphs.paragraphs(item.heading),
        "number": item.number,
        "at": item.at,
        "utc": item.utc,
        "kind": item.kind,
        "parts": [_part(part) for part in item.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "tone": part.tone,
        "label": part.label,
        "text": glyphs.paragraphs(part.text),
        "rows": [[glyphs.paragraphs(key), glyphs.paragraphs(value)] for key, value in part.rows],
    }
