"""Owns a dossier as a whole: its first page, its annexes, and an ID that is the same for the same content."""

from __future__ import annotations

import hashlib

import msgspec

from auditlog.reconstruct import actions
from auditlog.web.dossier.annex import annexes
from auditlog.web.dossier.parts import Budget, Item, Section
from auditlog.web.dossier.summary import Case, first_page
from auditlog.web.tags import money


class Document(msgspec.Struct, frozen=True):
    title: str
    session: str
    first: tuple[Item, ...]
    annexes: tuple[Section, ...]
    prepared_by: str
    prepared_at: str  # ISO 8601, UTC
    prepared_shown: str
    id: str = ""


def document(case: Case) -> Document:
    """The ID is made of everything but the time of preparation, so that two prints of the same content are seen to be the same."""
    made = Document(
        title(case),
        case.facts.session_id,
        first_page(case),
        annexes(case, Budget()),
        case.preparer.name,
        case.preparer.at,
        case.clock.both(case.preparer.at),
    )
    lasting = [item for item in made.first if item.heading != "Prepared"]
    said = repr([made.title, made.session, lasting, made.annexes, made.prepared_by, case.preparer.roles])
    content = said.encode("utf-8", "surrogatepass")  # a recorded text may hold half of a pair, which JSON cannot carry
    return msgspec.structs.replace(made, id=hashlib.sha256(content).hexdigest()[:16])


def title(case: Case) -> str:
    if case.step is None:
        return "A session without an action"
    line = actions.line(actions.action(case.step))
    amount = f" {money(line['amount'], line['currency'])}" if line["amount"] else ""
    concerned = f" for {case.facts.customer_ids[0]}" if case.facts.customer_ids else ""
    return f"{line['tool']}{amount}{concerned}"
