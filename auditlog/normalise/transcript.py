"""Owns conversations that were written down as one text, each message behind its role: "system: …", then "user: …" on a new line."""

from __future__ import annotations

import re

from auditlog.normalise import notation, shapes
from auditlog.normalise.values import Memo
from auditlog.vocabulary import Message, Result, Role, Text

SPOKEN = re.compile(r"^(system|developer|user|human|assistant|ai|model|tool): ?", re.IGNORECASE | re.MULTILINE)
NOTHING = frozenset(("", "None", "null"))


def messages(text: str, default: Role, memo: Memo) -> tuple[Message, ...]:
    """The messages of a transcript; a text that does not begin with a role is one message of the default role."""
    if SPOKEN.match(text) is None:
        return (Message(default, (Text(text),)),)
    found = list(SPOKEN.finditer(text))
    ends = [m.start() for m in found[1:]] + [len(text)]
    out: list[Message] = []
    for match, end in zip(found, ends, strict=True):
        said = text[match.end() : end].strip()
        whole = notation.value(said) if said.startswith("[{") else None
        if isinstance(whole, list) and all(isinstance(m, dict) and "role" in m for m in whole):
            return shapes.messages(whole, memo)  # the conversation itself, written into it once more
        role = shapes.role_of(match[1], default)
        if said not in NOTHING:
            out.append(Message(role, (Result(said) if role == "tool" else Text(said),)))
    return tuple(out)
