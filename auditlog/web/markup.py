"""Owns the only HTML that is made in Python and not by a template: a badge for each character that hides, and a time.

Every page prints hundreds of both, and a template rendered for each of them was half of the time that a long page took. Nothing stored
is marked safe: ordinary text leaves here as a plain str, which the template escapes, and format_html escapes all that is put into it.
"""

from __future__ import annotations

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from auditlog.web import text as texts

UNDATED = format_html('<span class="muted">{}</span>', "undated")


def of(text: str) -> str:
    """Stored text for a template to print: a str that it escapes, or, where something has to be made visible, HTML escaped here."""
    found = texts.segments(text)
    if len(found) == 1 and not found[0].badge:
        return found[0].text
    return format_html_join("", "{}", ((badge(one) if one.badge else one.text,) for one in found))


def badge(segment: texts.Segment) -> SafeString:
    return format_html('<span class="hidden-char" title="{}">{}</span>', segment.title, segment.badge)


def time(iso: str, shown: str, utc: str) -> SafeString:
    return format_html('<time datetime="{}" title="{}">{}</time>', iso, utc, shown)
