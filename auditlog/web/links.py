"""Owns the addresses of what a page shows: a session, and the very step in it."""

from __future__ import annotations

from django.urls import reverse

from auditlog.derive.paging import STEPS


def step_href(key: str, page: int | None, number: int) -> str:
    """Of the step with this number, from 1, on that page: whole but for the first page, so that it can be copied anywhere."""
    return f"#step-{number}" if page == 1 and number <= STEPS else step_address(key, number - 1)


def step_address(key: str, step: int) -> str:
    """The page on which step `n` (from 0) of this session stands, at that step. Pages number steps from 1."""
    number = step // STEPS + 1
    return f"{reverse('session', args=[key])}{f'?page={number}' if number > 1 else ''}#step-{step + 1}"
