"""Owns what a dossier is made of: headed items of parts, which page and PDF set each in their own way, and how long they may be.

Every text in it is plain. What was recorded and what is ours differ by kind of part, never by markup inside a text.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any, Final, Literal

import msgspec

from auditlog.web import jsontext
from auditlog.web.tags import parse

LONGEST: Final = 100_000  # characters of one text
WHOLE: Final = 2_000_000  # characters of all of them together
MOST_STEPS: Final = 1_000

Kind = Literal["say", "note", "text", "quote", "code", "cells"]
Tone = Literal["", "good", "bad", "open"]


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """say and note: our words, note in small type. text, quote (reasoning, a rule), code and cells: what was recorded."""

    kind: Kind
    text: str = ""
    tone: Tone = ""
    label: str = ""
    rows: tuple[tuple[str, str], ...] = ()


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One heading with what stands under it. Of a step: its number, when, and by which record it is known."""

    heading: str
    parts: tuple[Part, ...]
    number: str = ""
    at: str = ""
    utc: str = ""
    kind: str = ""


class Section(msgspec.Struct, frozen=True):
    """One annex."""

    letter: str
    heading: str
    items: tuple[Item, ...]


class Budget:
    """How much text may still be printed. What is cut says so where it is cut, and that the record has all of it."""

    def __init__(self, whole: int = WHOLE, longest: int = LONGEST) -> None:
        self._left, self._longest = whole, longest
        self.cut = 0  # texts that were cut

    def part(self, kind: Kind, text: str, label: str = "", tone: Tone = "") -> list[Part]:
        taken = text[: max(0, min(self._longest, self._left))]
        self._left -= len(taken)
        made = [Part(kind, taken, tone, label)] if taken or not text else []
        if len(taken) < len(text):
            self.cut += 1
            made.append(
                say(f"Cut here: {len(text) - len(taken):,} of {len(text):,} characters are not printed; the record has all of it.", "open")
            )
        return made

    def value(self, value: Any, label: str = "") -> list[Part]:
        """A recorded value: a table where it is flat, indented JSON where it is not, text as it is."""
        found = jsontext.structure(value)
        if isinstance(found, jsontext.Pairs) and 0 < len(found) <= 24:
            cells = [(key, jsontext.scalar(child)) for key, child in found]
            rows = tuple((key, cell.text) for key, cell in cells if cell is not None and len(cell.text) <= 2_000)
            size = sum(len(key) + len(text) for key, text in rows)
            if len(rows) == len(cells) and size <= self._left:
                self._left -= size
                return [Part("cells", "", "", label, rows)]
        if isinstance(found, list):
            return self.part("code", jsontext.indented(found), label)
        shown = jsontext.scalar(found)
        return self.part("code", shown.text if shown is not None else str(found), label)


def say(text: str, tone: Tone = "") -> Part:
    return Part("say", text, tone)


def note(text: str) -> Part:
    return Part("note", text)


def excerpt(text: str, most: int, where: str) -> list[Part]:
    """The beginning of a text for the first page, and where the whole stands."""
    if len(text) <= most:
        return [Part("quote", text)]
    return [Part("quote", text[:most]), note(f"The first {most:,} of {len(text):,} characters; the whole stands in {where}.")]


class Clock:
    """Times of the case: in its zone, with UTC beside it."""

    def __init__(self, zone: tzinfo, name: str) -> None:
        self._zone, self.name = zone, name

    def local(self, value: object) -> str:
        moment = parse(value) if value else None
        if moment is None:
            return "undated"
        local = moment.astimezone(self._zone)
        return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d} {'UTC' if self._zone is UTC else f'{local:%Z}'}"

    def utc(self, value: object) -> str:
        """Empty where the case's zone is UTC already, and where there is no time."""
        moment = parse(value) if value else None
        if moment is None or self._zone is UTC:
            return ""
        return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC"

    def both(self, value: object) -> str:
        utc = self.utc(value)
        return f"{self.local(value)} ({utc})" if utc else self.local(value)
