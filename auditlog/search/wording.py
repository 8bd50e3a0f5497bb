"""Owns how a question for words is read: words and "phrases" that must all be there, -without some, `or` between alternatives."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from django.contrib.postgres.search import SearchQuery

from auditlog.derive.keys import to_bytes
from auditlog.derive.words import Unit, asked, fold, units

LONGEST: Final = 1_000  # bytes of a question
_QUOTES: Final = str.maketrans(dict.fromkeys("“”„‟＂«»「」", '"'))
_TERM: Final = re.compile(r'(?P<without>-?)(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+|"))')


class Wording(NamedTuple):
    """`query` is in the notation of tsquery; `phrases` are what of it is to be found in a text, in the order of the question."""

    query: str
    phrases: list[list[Unit]]


def read(text: str) -> Wording | None:
    """None: longer than any question. Whatever else is asked means something; without a word it finds nothing."""
    if len(to_bytes(text)) > LONGEST:
        return None
    alternatives: list[list[str]] = [[]]
    phrases: list[list[Unit]] = []
    for term in _TERM.finditer(text.translate(_QUOTES)):
        said, without = term["phrase"] or term["word"] or "", bool(term["without"])
        if term["word"] and not without and said.lower() == "or":
            alternatives.append([])
            continue
        phrase = list(units(fold(said)))  # INV-1182 and ana@example.com are phrases, too
        if not phrase:
            continue
        alternatives[-1].append(f"!{asked(phrase)}" if without else asked(phrase))
        if not without and phrase not in phrases:
            phrases.append(phrase)
    return Wording(" | ".join(" & ".join(one) for one in alternatives if one), phrases)


class Words(SearchQuery):
    """A question whose lexemes are compared as they are: PostgreSQL's parser has no part in it."""

    template = "%(expressions)s::tsquery"

    def __init__(self, wording: Wording, **settings: Any) -> None:
        super().__init__(wording.query, **settings)
