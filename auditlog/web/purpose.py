"""Owns why somebody reads content: what may be stated, how long it holds in a login, and how a program says it in headers."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from auditlog.errors import Problem

HOLDS_FOR: Final = 8 * 3600  # seconds: a working day. The next one may have another reason, and whoever has the same is asked once
LONGEST: Final = 200  # characters of a purpose: the access log lists as many (derive.deeds)
LONGEST_CASE: Final = 60
PURPOSE, CASE = "Auditlog-Purpose", "Auditlog-Case"  # headers
REQUIRED: Final = (
    f"This project asks what content is read for. Send the header `{PURPOSE}` with the reason, and `{CASE}` with the number of a case "
    "where there is one, all but ASCII percent-encoded as UTF-8. Whoever is logged in can state both at /purpose instead."
)
_KEY: Final = "purposes"  # of the login's session: project to [purpose, case, until]
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Stated(NamedTuple):
    """What somebody reads for; the case is empty where none was named."""

    purpose: str
    case: str = ""

    @property
    def about(self) -> dict[str, str]:
        """As it stands in a record."""
        return {"purpose": self.purpose} | ({"case": self.case} if self.case else {})


def wrong(text: str, most: int) -> str:
    """What is wrong with a text that somebody states; empty: nothing."""
    if len(text) > most:
        return f"has more than {most} characters."
    if any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in text):
        return "has a character that controls and is not shown, such as an end of line."
    if text and not any(one.isalnum() for one in text):
        return "has neither a letter nor a digit."
    return ""


def state(session: MutableMapping[str, Any], project_id: int, stated: Stated) -> None:
    """From now on, in this login and for this project. A logout ends the session, and what it holds."""
    now = int(time.time())
    kept = {number: one for number, one in session.get(_KEY, {}).items() if one[2] > now}
    session[_KEY] = kept | {str(project_id): [*stated, now + HOLDS_FOR]}


def stated_in(session: Mapping[str, Any], project_id: int) -> Stated | None:
    """What this login stated for the project, while it holds."""
    purpose, case, until = session.get(_KEY, {}).get(str(project_id), ("", "", 0))
    return Stated(purpose, case) if until > time.time() else None


def sent(headers: Mapping[str, str]) -> Stated | None:
    """What a request says in its headers; None: nothing. Raises Problem("parameter_invalid")."""
    purpose, case = _read(headers, PURPOSE, LONGEST), _read(headers, CASE, LONGEST_CASE)
    return Stated(purpose, case) if purpose else None


def _read(headers: Mapping[str, str], name: str, most: int) -> str:
    """A header carries ASCII alone, whatever lies between: other characters are percent-encoded as UTF-8, and so is the percent sign."""
    value = headers.get(name, "")
    said = ""
    if not value.isascii() or _PERCENT.search(value):
        said = "is not percent-encoded: write all but ASCII as UTF-8 like `%C3%BC`, and a percent sign as `%25`."
    try:
        text = unquote_to_bytes(value).decode("utf-8").strip()
    except UnicodeDecodeError:
        text, said = "", said or "is not UTF-8 where it is percent-encoded."
    if said := said or wrong(text, most):
        raise Problem("parameter_invalid", f"The header `{name}` {said}", detail={"parameter": name})
    return text
