"""Owns how words are compared in full text: without case and without accents, the same for what is indexed and what is asked."""

from __future__ import annotations

import re
import unicodedata

_ACCENTS = re.compile("[\u0300-\u036f]+")  # not every combining mark: in Indic scripts those are vowels


def fold(text: str) -> str:
    """Done here and not by PostgreSQL: `unaccent` is an extension, and lower() does nothing to é in the C locale."""
    if text.isascii():
        return text.replace("\0", " ").lower()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", bare).casefold().encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
