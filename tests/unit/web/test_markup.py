"""Owns the checks that the little HTML made in Python escapes all that it is given."""

from __future__ import annotations

import html
import re

import pytest
from django.template import Context, Template
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from auditlog.web import markup
from auditlog.web.text import segments

BADGE = re.compile(r'<span class="hidden-char" title="([^"<>]*)">([^<>&"]*)</span>')
PAGE = Template("{% stored x %}")
HOSTILE = st.sampled_from(
    ["<script>", "</script>", "&lt;", "&", "<", ">", '"', "'", "</span>", 'title="', "\u202e", "\x00", "\x1b[2J", "\r\n"]
)


def printed(text: str) -> str:
    return PAGE.render(Context({"x": text}))


@given(st.lists(st.one_of(HOSTILE, st.text(alphabet=st.characters()))).map("".join))
def test_no_stored_text_becomes_markup_and_none_of_it_is_lost(text: str) -> None:
    page = printed(text)
    bare = BADGE.sub("", page)
    assert not re.search("[<>\"']", bare)
    assert html.unescape(BADGE.sub(r"\2", page)) == "".join(one.badge or one.text for one in segments(text))


def test_ordinary_text_is_never_marked_safe_so_that_the_template_escapes_it() -> None:
    assert not isinstance(markup.of("<b>"), SafeString)
    assert printed("<b>'\"&amp;") == "&lt;b&gt;&#x27;&quot;&amp;amp;"


def test_what_stands_around_a_badge_is_escaped_too() -> None:
    assert printed("<i>\u202e</i>") == ('&lt;i&gt;<span class="hidden-char" title="U+202E RIGHT-TO-LEFT OVERRIDE">U+202E</span>&lt;/i&gt;')


@pytest.mark.parametrize(
    ("value", "page"),
    [
        ("2026-03-01T10:00:00.25Z",
         '<time datetime="2026-03-01T10:00:00.250000+00:00" title="2026-03-01 10:00:00.250000 UTC">10:00:00.2</time>'),
        ("", '<span class="muted">undated</span>'),
        ('"><script>', '<span class="muted">undated</span>'),
    ],
)  # fmt: skip
def test_a_time_is_shown_with_utc_beside_it_and_what_is_none_as_undated(value: str, page: str) -> None:
    assert Template('{% at x "clock" %}').render(Context({"x": value})) == page


def test_a_time_escapes_whatever_it_is_given() -> None:
    assert "<b>" not in markup.time("<b>", "<b>", "<b>") and '""' not in markup.time('"', '"', '"')
