"""Owns into which retention class an item goes: by the attributes of its resource where a project has rules, else by its key and project.

Rules are exact: an attribute of the resource and its value. They have an order, and the first one that fits decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, LiteralString, NamedTuple

from auditlog.item import BOOL, INT, STRING, Context, Item

# Of project `p`: [[attribute, value, class, version of the class in force], ...] in their order, or NULL. JSON.
RULES: Final[LiteralString] = """
    (SELECT jsonb_agg(rule || to_jsonb(coalesce((SELECT max(c.version) FROM retention_class c
                                        WHERE c.class_no = (rule ->> 2)::smallint AND c.in_force_at IS NOT NULL), 0)) ORDER BY n)
     FROM (SELECT rules FROM retention_rules WHERE project_id = p.id ORDER BY version DESC LIMIT 1) newest,
       jsonb_array_elements(newest.rules) WITH ORDINALITY AS each (rule, n))"""

# Which classes the evidence of each project goes into, by itself, by a key or by a rule.
USED: Final[LiteralString] = """
    (SELECT id AS project_id, class_no FROM project UNION
     SELECT project_id, class_no FROM api_key WHERE class_no IS NOT NULL AND revoked_at IS NULL UNION
     SELECT project_id, (rule ->> 2)::smallint
     FROM (SELECT DISTINCT ON (project_id) project_id, rules FROM retention_rules ORDER BY project_id, version DESC) newest,
       jsonb_array_elements(newest.rules) AS each (rule))"""


class Rule(NamedTuple):
    """What comes from a resource that has this attribute with this value goes into this class. class_version: the one in force."""

    attribute: str
    value: str
    class_no: int
    class_version: int = 0


class Class(NamedTuple):
    """A retention class and the version of it that is in force; 0: nobody said."""

    number: int
    version: int


def rules(row: Sequence[Sequence[Any]] | None) -> tuple[Rule, ...]:
    """Of what `RULES` gives."""
    return tuple(Rule(*rule) for rule in row or ())


def classes(wanted: Sequence[Rule], otherwise: Class, batch: Sequence[Item]) -> list[Class]:
    """Of each item of a request its class. One decision per Context, which the items of a ScopeSpans share."""
    # The first of equal rules stays, and the place of each says which comes first.
    places: dict[tuple[str, str], int] = {}
    for place, rule in enumerate(wanted):
        places.setdefault((rule.attribute, rule.value), place)
    decided: dict[int, Class] = {}
    found = []
    for item in batch:
        context: Context | None = getattr(item, "context", None)
        if context is None:  # a REST event, or what could not be read
            found.append(otherwise)
            continue
        if id(context) not in decided:
            fitting = [places[pair] for pair in _pairs(context) if pair in places]
            decided[id(context)] = _class(wanted[min(fitting)], otherwise) if fitting else otherwise
        found.append(decided[id(context)])
    return found


def _class(rule: Rule, otherwise: Class) -> Class:
    return otherwise if rule.class_no == otherwise.number else Class(rule.class_no, rule.class_version)


def _pairs(context: Context) -> list[tuple[str, str]]:
    """Attributes of a resource with their values as a rule writes them: text as it is, whole numbers, true and false."""
    found = []
    for key, kind, value in context.resource or ():
        if kind == STRING:
            found.append((key, value))
        elif kind == BOOL:
            found.append((key, "true" if value else "false"))
        elif kind == INT:
            found.append((key, str(value)))
    return found
