"""Owns how words are compared in full text: without case and without accents, the same for what is indexed and what is asked."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_ACCENTS = re.compile("[\u0300-\u036f]+")  # not every combining mark: in Indic scripts those are vowels


_NO_LETTER = re.compile(r"[^\w\x00-\x7f]")


@lru_cache(maxsize=4096)
def _apart(character: str) -> str:
    return character if unicodedata.category(character).startswith("M") else " "


def fold(text: str) -> str:
    """Done here and not by PostgreSQL: `unaccent` is an extension, and lower() does nothing to é in the C locale."""
    if text.isascii():
        return text.replace("\0", " ").lower()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    bare = _NO_LETTER.sub(lambda found: _apart(found[0]), bare)  # in the C locale PostgreSQL takes “ and ’ for letters
    return unicodedata.normalize("NFC", bare).casefold().encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
