"""Owns the checks of ranges of time as people say them: presets in the reader's zone, and words that say exactly what is searched."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import Problem
from auditlog.search import parameters
from auditlog.web import ranges

NOW = datetime(2026, 3, 1, 3, 30, tzinfo=UTC)  # still the last day of February in New York
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("when", "first", "last"),
    [
        ("today", "2026-02-28", "2026-02-28"),
        ("yesterday", "2026-02-27", "2026-02-27"),
        ("7d", "2026-02-22", "2026-02-28"),
        ("30d", "2026-01-30", "2026-02-28"),
        ("month", "2026-02-01", "2026-02-28"),
        ("last-month", "2026-01-01", "2026-01-31"),
    ],
)
def test_a_preset_means_the_days_of_the_readers_zone(when: str, first: str, last: str) -> None:
    assert ranges.days(when, NOW, NEW_YORK) == (date.fromisoformat(first), date.fromisoformat(last))
    assert ranges.applied({"when": when, "tool": "pay"}, NOW, NEW_YORK) == {"from": first, "to": last, "tool": "pay"}


def test_every_preset_is_known_and_anything_else_says_what_there_is() -> None:
    assert all(ranges.days(when, NOW, UTC).first <= ranges.days(when, NOW, UTC).last for when in ranges.PRESETS)
    with pytest.raises(Problem, match="none of today, yesterday"):
        ranges.days("9d", NOW, UTC)


def test_dates_that_are_given_win_over_a_preset() -> None:
    assert ranges.applied({"when": "7d", "to": "2026-01-02"}, NOW, UTC) == {"to": "2026-01-02"}


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-03-01", "2026-03-31", "1–31 Mar 2026"),
        ("2026-03-05", "2026-03-05", "5 Mar 2026"),
        ("2026-02-27", "2026-03-02", "27 Feb – 2 Mar 2026"),
        ("2025-12-28", "2026-01-03", "28 Dec 2025 – 3 Jan 2026"),
        ("2026-03-05T10:00:00", "2026-03-05T10:59:59.999999", "5 Mar 2026 10:00–11:00"),
        ("2026-03-05T10:00:00", "2026-03-05T23:59:59.999999", "5 Mar 2026 10:00 – 5 Mar 2026"),
        ("2026-03-05T10:00:01", "2026-03-06T11:00", "5 Mar 2026 10:00:01 – 6 Mar 2026 11:00"),
        ("2026-03-05T15:00:00Z", "2026-03-05T15:59:59.999999Z", "5 Mar 2026 10:00–11:00"),  # said in the reader's zone
        ("2026-03-05", None, "since 5 Mar 2026"),
        (None, "2026-03-05", "until 5 Mar 2026"),
        ("2026-03-05T10:00", None, "since 5 Mar 2026 10:00"),
        (None, "2026-03-05T10:00", "until 5 Mar 2026 10:00"),
        ("2026-03-05", "2026-03-01", "from 5 Mar 2026 00:00 until 1 Mar 2026"),
        (None, None, "any time"),
        ("soon", "2026-03-01", "soon to 2026-03-01"),
    ],
)
def test_a_range_reads_as_one_would_say_it(start: str | None, end: str | None, said: str) -> None:
    assert ranges.words(start, end, NEW_YORK) == said


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 400))
def test_whole_days_are_said_so_that_both_ends_can_be_read_back(first: date, more: int) -> None:
    last = first + timedelta(days=more)
    said = ranges.words(first.isoformat(), last.isoformat(), NEW_YORK)
    assert said.endswith(f"{last.day} {last:%b} {last.year}") and said.startswith(str(first.day)) and ":" not in said
    assert f"{first:%b}" in said and str(first.year) in said


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_makes_the_words_fail(start: str, end: str) -> None:
    assert isinstance(ranges.words(start or None, end or None, NEW_YORK), str)


def test_the_ends_of_the_calendar_are_no_error() -> None:
    for end in ("9999-12-31", "0001-01-01"):
        assert ranges.words(None, end, NEW_YORK)
        assert ranges.words(end, None, NEW_YORK)
    with pytest.raises(Problem):
        parameters.moment("to", "9999-12-31", NEW_YORK, end=True)
