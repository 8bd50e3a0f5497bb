"""Owns what the person who prepares a dossier states in it: question, answer with a name, and the passage quoted as the rule."""

from __future__ import annotations

from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError


class Stated(msgspec.Struct, frozen=True):
    """Empty: not stated, and printed so. Nothing here is guessed."""

    question: str = ""
    answer: str = ""
    answered_by: str = ""
    rule: str = ""

    @property
    def names(self) -> list[str]:
        return [name for name in self.__struct_fields__ if getattr(self, name)]


def flat(text: str) -> str:
    return " ".join(text.split())


class StatedForm(forms.Form):
    """A rule must stand in an instruction that was recorded, word for word: this product does not know which rule was applied."""

    question = forms.CharField(max_length=2_000, required=False, widget=forms.Textarea)
    answer = forms.CharField(max_length=6_000, required=False, widget=forms.Textarea)
    answered_by = forms.CharField(max_length=200, required=False)
    rule = forms.CharField(max_length=6_000, required=False, widget=forms.Textarea)

    def __init__(self, *args: Any, instructions: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._instructions = [flat(text) for text in instructions]

    def clean_rule(self) -> str:
        rule = str(self.cleaned_data["rule"])
        if rule and not any(flat(rule) in text for text in self._instructions):
            raise ValidationError("This passage does not stand in the recorded instruction. Copy it from annex B, word for word.")
        return rule

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if found.get("answer") and not found.get("answered_by") and "answered_by" not in self.errors:
            self.add_error("answered_by", "An answer needs the name of the person who gives it.")
        if found.get("answered_by") and not found.get("answer"):
            found["answered_by"] = ""
        return found

    def stated(self) -> Stated:
        return Stated(**{name: self.cleaned_data[name].replace("\r\n", "\n") for name in Stated.__struct_fields__})
