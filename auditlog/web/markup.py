"""Owns the HTML of single values that is made in Python and not by a template: a badge for each character that hides, and a time.

Every page prints hundreds of both, and a template rendered for each of them was half of the time that a long page took. Nothing stored
is marked safe: ordinary text leaves here as a plain str, which the template escapes, and `html` escapes all that is put into it.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from django.utils.safestring import SafeString

from auditlog.web import text as texts

UNDATED: Final = SafeString('<span class="muted">undated</span>')


def of(text: str) -> str:
    """Stored text for a template to print: a str that it escapes, or, where something has to be made visible, HTML escaped here."""
    found = texts.segments(text)
    if len(found) == 1 and not found[0].badge:
        return found[0].text
    return joined(badge(one) if one.badge else one.text for one in found)


def html(form: str, *values: object, **named: object) -> SafeString:
    """format_html at a third of its cost (1.8 instead of 5.0 µs for three values): what is not HTML already is escaped."""
    return SafeString(form.format(*map(_escaped, values), **{name: _escaped(value) for name, value in named.items()}))


def joined(parts: Iterable[str]) -> SafeString:
    return SafeString("".join(map(_escaped, parts)))


def _escaped(value: object) -> str:
    return value if isinstance(value, SafeString) else escape(str(value))


def badge(segment: texts.Segment) -> SafeString:
    return html('<span class="hidden-char" title="{}">{}</span>', segment.title, segment.badge)


def time(iso: str, shown: str, utc: str) -> SafeString:
    return html('<time datetime="{}" title="{}">{}</time>', iso, utc, shown)
