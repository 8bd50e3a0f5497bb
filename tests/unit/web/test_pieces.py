"""Owns the checks of the pieces of HTML that the decision page is made of: nothing stored becomes markup, and nothing is left out."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from django.utils.safestring import SafeString

from auditlog.web import pieces
from auditlog.web.present import Block, Cell, Note, Row
from auditlog.web.waterfall import Mark

HOSTILE = "\"'><script>alert(1)</script>&amp;\u202eback\x00"


class Seen(HTMLParser):
    """The tags and the text of a piece, as a browser reads them."""

    def __init__(self, piece: SafeString) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(piece)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [f"{name}={value}" for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def row(**given: Any) -> Row:
    return Row(number=1, kind="tool_call", speaker="Tool call", at=None, **given)


def call(**given: Any) -> dict[str, Any]:
    return {"number": 1, "requested_model": None, "response_model": None, "usage": {"input_tokens": None, "output_tokens": None}} | given


EVERY = {
    "cells": lambda text: pieces.recorded(Block(cells=[Cell(text, text, "text")])),
    "code": lambda text: pieces.recorded(Block(code=text, length=len(text))),
    "folded code": lambda text: pieces.recorded(Block(code=text, folded=True, length=len(text))),
    "text": lambda text: pieces.recorded(Block(text=text, length=len(text))),
    "folded text": lambda text: pieces.recorded(Block(text=text, folded=True, length=len(text))),
    "note": lambda text: pieces.notes_of(row(notes=[Note(text)])),
    "note of a value": lambda text: pieces.notes_of(row(notes=[Note(text, before=text, links=[("1", "#step-1")])])),
    "model that answered": lambda text: pieces.call_of(row(new_call=call(response_model=text)), True),
    "model that was asked for": lambda text: pieces.call_of(row(new_call=call(response_model="other", requested_model=text)), True),
    "label of a mark": lambda text: pieces.map_of([Mark(1, "tool_call", 0.0, 3.0, 11, 4, text)], "key", 1),
}


@pytest.mark.parametrize("piece", EVERY)
def test_hostile_text_stays_text_and_what_hides_is_shown(piece: str) -> None:
    plain, hostile = Seen(EVERY[piece]("harmless")), Seen(EVERY[piece](HOSTILE))
    assert "harmless" in plain.text
    assert [tag for tag in hostile.tags if tag != "span"] == [tag for tag in plain.tags if tag != "span"]
    assert "<script>alert(1)</script>&amp;" in hostile.text and "U+202E" in hostile.text and "\u202e" not in hostile.text
    assert all(
        each.partition("=")[0] in ("class", "title", "href", "scope", "download", *"xy", "width", "height") for each in hostile.attributes
    )


def test_a_folded_value_shows_its_length_and_beginning_and_holds_all_of_it() -> None:
    text = "".join(f"{n:04} " for n in range(400))
    seen = Seen(pieces.recorded(Block(text=text, folded=True, length=len(text))))
    assert seen.text == "2,000 characters" + text[:160] + text and seen.tags[0] == "details"


def test_what_is_shown_in_part_says_so_and_what_is_whole_does_not() -> None:
    in_part = "Shown are the first 200,000 of 1,000,000 characters; the original of the record has all of them."
    assert Seen(pieces.recorded(Block(text="x", length=1_000_000, cut=200_000))).text == "x" + in_part
    assert Seen(pieces.cut_of(200_000, 1_000_000)).text == in_part
    assert pieces.cut_of(0, 3) == ""


def test_a_note_says_from_which_steps_a_value_came_or_that_it_came_from_none() -> None:
    links = [("1", "#step-1"), ("14", "#step-14")]
    seen = Seen(pieces.notes_of(row(notes=[Note("", before="amount", links=links), Note("nowhere before", "open", before="to")])))
    assert seen.text == "amount ← step 1, step 14to: nowhere before"
    assert {"href=#step-1", "href=#step-14", "class=open-tone"} <= set(seen.attributes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Model call 1: model not recorded"),
        ({"requested_model": "a"}, "Model call 1: a"),
        ({"requested_model": "a", "response_model": "a"}, "Model call 1: a"),
        ({"requested_model": "a", "response_model": "b"}, "Model call 1: b, asked for a"),
        ({"usage": {"input_tokens": 1234, "output_tokens": None}}, "Model call 1: model not recorded, 1,234 tokens in, – out"),
        ({"usage": None}, "Model call 1: model not recorded"),
    ],
)
def test_a_model_call_says_what_is_known_of_it(given: dict[str, Any], said: str) -> None:
    assert Seen(pieces.call_of(row(new_call=call(**given)), False)).text == said


def test_the_request_of_a_model_call_is_offered_to_whoever_may_read_content_and_nothing_where_no_call_begins() -> None:
    made = row(new_call=call(), request="/sessions/k/calls/1/request")
    assert "href=/sessions/k/calls/1/request" in Seen(pieces.call_of(made, True)).attributes
    assert "href" not in pieces.call_of(made, False)
    assert pieces.call_of(row(), True) == ""


def test_records_are_linked_and_those_that_are_not_are_counted() -> None:
    seen = Seen(pieces.records_of(row(records=[("record 1", "/events/ab", "ab"), ("record 2", "/events/cd", "cd")], unlisted=3)))
    assert seen.text == "record 1 record 2 and 3 more, in the API"
    assert {"href=/events/ab", "title=Record cd"} <= set(seen.attributes)
