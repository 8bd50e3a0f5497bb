"""Owns the HTML of what the decision page has most of: recorded values, what stands at the edge of a row, and the marks of its map.

Made in Python and not by templates: a page of 301 steps has two thousand of them, and templates took half of its time for them. All that is
put into the HTML goes through `markup.html`, which escapes it. The functions are template tags of the same names.
"""

from __future__ import annotations

from typing import Any, Final

from django.template import Library
from django.utils.safestring import SafeString

from auditlog.web import text
from auditlog.web.links import step_href
from auditlog.web.markup import html, joined, of
from auditlog.web.present import Block, Cell, Note, Row
from auditlog.web.tags import thousands
from auditlog.web.waterfall import Mark

register = Library()

PEEK: Final = 160  # characters of a folded value that its closed lid shows


@register.simple_tag
def recorded(b: Block) -> SafeString:
    """One recorded value: a table, or text that is folded where it is long."""
    return joined((_table(b.cells) if b.cells else _text(b), cut_of(b.cut, b.length)))


def _table(cells: list[Cell]) -> SafeString:
    row = '<tr><th scope="row"><bdi>{}</bdi></th><td class="{}"><bdi>{}</bdi></td></tr>'
    return html('<table class="cells">{}</table>', joined(html(row, of(cell.key), cell.kind, of(cell.text)) for cell in cells))


def _text(b: Block) -> SafeString:
    shown = b.code or b.text
    whole = html('<pre class="{}"><bdi>{}</bdi></pre>', "code" if b.code else "said", of(shown))
    if not b.folded:
        return whole
    lid = html('<span class="data">{} characters</span><span class="peek">{}</span>', thousands(b.length), of(shown[:PEEK]))
    return html('<details class="fold"><summary>{}</summary>{}</details>', lid, whole)


@register.simple_tag
def cut_of(cut: int, length: int) -> SafeString:
    """That a text of this length is shown in part, its first `cut` characters; nothing where `cut` is 0."""
    if not cut:
        return SafeString("")
    shown = "Shown are the first {} of {} characters; the original of the record has all of them."
    return html(f'<p class="open-tone">{shown}</p>', thousands(cut), thousands(length))


@register.simple_tag
def notes_of(row: Row) -> SafeString:
    """What to believe of a step, a line each."""
    return joined(map(_note, row.notes))


def _note(note: Note) -> SafeString:
    if not note.before:
        return html('<p class="{}">{}</p>', note.css, of(note.text))
    links = [html('<a href="{}">step {}</a>', href, number) for number, href in note.links]
    leads = html(" ← {}", SafeString(", ".join(links))) if links else SafeString(": ")
    return html('<p class="{}"><bdi class="data">{}</bdi>{}{}</p>', note.css, of(note.before), leads, of(note.text))


@register.simple_tag
def records_of(row: Row) -> SafeString:
    """The links to a step's records."""
    links = joined(html('<a href="{}" title="Record {}">{}</a> ', href, one, name) for name, href, one in row.records)
    return html('<p class="records">{}{}</p>', links, f"and {row.unlisted} more, in the API" if row.unlisted else "")


@register.simple_tag
def call_of(row: Row, content: bool) -> SafeString:
    """The model call that begins with this step: its model, its tokens and, for whoever may read content, the request."""
    call: dict[str, Any] | None = row.new_call
    if call is None:
        return SafeString("")
    answered, asked, usage = call.get("response_model"), call.get("requested_model"), call.get("usage") or {}
    parts = [html('Model call {}: <bdi class="data">{}</bdi>', call["number"], of(answered or asked or "model not recorded"))]
    if usage.get("input_tokens") is not None:
        tokens = '<span class="muted">{} tokens in, {} out</span>'
        parts.append(html(tokens, thousands(usage["input_tokens"]), thousands(usage.get("output_tokens"))))
    if asked and answered and asked != answered:
        parts.append(html('<span class="muted">asked for <bdi>{}</bdi></span>', of(asked)))
    if content:
        parts.append(html('<a href="{}" download>request</a>', row.request))
    return html('<p class="call">{}</p>', SafeString('<span class="sep">, </span><br>'.join(parts)))


@register.simple_tag
def map_of(marks: list[Mark], key: str, page: int) -> SafeString:
    """The marks of a page's map as SVG, each a link to its step."""
    mark = '<a href="{}"><title>Step {}: {}</title><rect class="m-{}" x="{}" y="{}" width="{}" height="{}"/></a>'
    return joined(
        html(mark, step_href(key, page, m.number), m.number, text.plain(m.label), m.kind, m.x, m.y, m.width, m.height) for m in marks
    )
