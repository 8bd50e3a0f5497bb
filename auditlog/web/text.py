"""Owns how stored text appears on a page: verbatim, with every character that hides or reorders text made visible.

Stored content is hostile text by definition. Nothing here marks anything safe: templates escape what they print.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

# C0 but tab and newline, DEL and C1; what is invisible or changes the direction of what follows; line separators that are no
# newline; tag characters and variation selectors that can smuggle a message; lone surrogates and non-characters.
_SPECIAL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff\ud800-\udfff]"
)
_NAMES: Final = {
    0x00: "NULL",
    0x07: "BELL",
    0x08: "BACKSPACE",
    0x0D: "CARRIAGE RETURN",
    0x1B: "ESCAPE",
    0x7F: "DELETE",
    0x9B: "CONTROL SEQUENCE INTRODUCER",
}


class Segment(NamedTuple):
    """A stretch of plain text, or (badge set) one character that is shown by its name."""

    text: str
    badge: str = ""
    title: str = ""


def segments(text: str) -> list[Segment]:
    """A text cut where a character has to be made visible. A CR LF is a line end like any other."""
    text = text.replace("\r\n", "\n")
    found: list[Segment] = []
    end = 0
    for match in _SPECIAL.finditer(text):
        if match.start() > end:
            found.append(Segment(text[end : match.start()]))
        found.append(_badge(match[0]))
        end = match.end()
    if end < len(text) or not found:
        found.append(Segment(text[end:]))
    return found


def _badge(character: str) -> Segment:
    number = ord(character)
    code = f"U+{number:04X}"
    if number < 0x20:
        shown = chr(0x2400 + number)
    elif number == 0x7F:
        shown = "\u2421"
    else:
        shown = code
    name = _NAMES.get(number) or unicodedata.name(character, "a character that is not shown")
    return Segment("", shown, f"{code} {name}")


def plain(text: str) -> str:
    """One line of such a text for places without markup (a title): what is special is replaced by its code."""
    return "".join(segment.badge or segment.text for segment in segments(" ".join(text.split())))
