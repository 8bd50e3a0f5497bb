"""Owns the forms of the settings pages: what may be asked for, and what is said of a field that cannot be read."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils import timezone

from auditlog.web.access import ROLES

# Scopes that open something; `keys.SCOPES` has those of what is not built yet, too.
SCOPES: Final = (
    ("ingest", "sends evidence, reads nothing"),
    ("read", "reads everything in this project through the API, content too"),
    ("export", "asks for exports of everything in this project, and downloads and releases them"),
    ("admin", "with read: places and releases holds, changes retention rules, tells of events, enters requests of erasure through the API"),
)
OVERLAPS: Final = (("0", "at once"), ("1", "in an hour"), ("24", "in a day"), ("168", "in a week"))  # hours


def day_end(day: date | None) -> datetime | None:
    """A day on a form means until its end, UTC."""
    return None if day is None else datetime.combine(day, time(), UTC) + timedelta(days=1)


def last_day(end: datetime | None) -> date | None:
    """The day that a form shows for such an end."""
    return None if end is None else (end - timedelta(microseconds=1)).date()


def _future(day: date | None) -> date | None:
    if day is not None and day < timezone.now().date():
        raise ValidationError(f"{day.isoformat()} is past. Name a day from today on, or leave it empty.")
    return day


class KeyForm(forms.Form):
    name = forms.CharField(max_length=80, label="Name")
    scopes = forms.MultipleChoiceField(
        choices=SCOPES,
        label="What it opens",
        error_messages={"required": "Choose what the key opens. A key that opens nothing is of no use."},
    )
    expires = forms.DateField(required=False, label="Valid until the end of")

    def clean_expires(self) -> date | None:
        return _future(self.cleaned_data["expires"])


class RotateForm(forms.Form):
    overlap = forms.ChoiceField(choices=OVERLAPS, label="The old key ends")


class WordForm(forms.Form):
    """What cannot be undone asks for its word."""

    word = forms.CharField(required=False)

    def __init__(self, *args: Any, word: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._word = word

    def clean_word(self) -> str:
        if self.cleaned_data["word"].strip().lower() != self._word:
            raise ValidationError(f"Nothing was changed. Type the word “{self._word}” to go on.")
        return self._word


class RolesForm(forms.Form):
    roles = forms.MultipleChoiceField(
        choices=[(name, role.words) for name, role in ROLES.items()], error_messages={"required": "Choose at least one role."}
    )
    expires = forms.DateField(required=False, label="Member until the end of")

    def clean_expires(self) -> date | None:
        return _future(self.cleaned_data["expires"])

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if "examiner" in found.get("roles", ()) and not found.get("expires") and "expires" not in self.errors:
            self.add_error("expires", "An examiner reads until a day that is set. Name it.")
        return found


class MemberForm(RolesForm):
    username = forms.CharField(max_length=150, label="Name to log in with", validators=[get_user_model().username_validator])
    field_order = ("username", "roles", "expires")
