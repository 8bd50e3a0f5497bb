"""Owns the checks of which class an item goes into by the attributes of its resource."""

from __future__ import annotations

import pytest

from auditlog.item import ARRAY, BOOL, DOUBLE, INT, STRING, Attribute, Context, Item, Log, Rest, Unreadable
from auditlog.store import kept
from auditlog.store.kept import Class, Rule

OTHERWISE = Class(1, 3)
RULES = (Rule("env", "dev", 4, 1), Rule("risk", "high", 3, 2), Rule("env", "test", 1, 3), Rule("n", "7", 5, 1), Rule("on", "true", 6, 1))


def log(*resource: Attribute) -> Log:
    return Log(Context(resource=list(resource)), 0, 0, None, [])


@pytest.mark.parametrize(
    ("resource", "number"),
    [
        ([("env", STRING, "dev")], 4),
        ([("risk", STRING, "high"), ("env", STRING, "dev")], 4),  # the first rule decides, not the first attribute
        ([("risk", STRING, "high"), ("env", STRING, "prod")], 3),
        ([("env", STRING, "Dev")], 1),
        ([("env", STRING, "dev ")], 1),
        ([("ENV", STRING, "dev")], 1),
        ([("env", STRING, "prod"), ("env", STRING, "dev")], 4),  # a repeated key: any of its values
        ([("n", INT, 7)], 5),
        ([("n", STRING, "7")], 5),
        ([("n", DOUBLE, 7.0)], 1),
        ([("n", ARRAY, [(INT, 7)])], 1),
        ([("on", BOOL, True)], 6),
        ([("on", BOOL, False)], 1),
        ([], 1),
    ],
)
def test_the_first_rule_that_fits_exactly_decides(resource: list[Attribute], number: int) -> None:
    (found,) = kept.classes(RULES, OTHERWISE, [log(*resource)])
    assert found.number == number


def test_what_has_no_resource_goes_where_its_key_says() -> None:
    items: list[Item] = [Rest([b"{}"], []), Unreadable(1, "protobuf", b"?", "item_undecodable", "no"), Log(Context(), 0, 0, None, [])]
    assert kept.classes(RULES, OTHERWISE, items) == [OTHERWISE] * 3
    known = Context(resource=[("env", STRING, "dev")])
    assert kept.classes(RULES, OTHERWISE, [Unreadable(1, "json", b"?", "item_undecodable", "no", context=known)]) == [Class(4, 1)]


def test_a_context_is_looked_at_once_however_many_items_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Context] = []
    pairs = kept._pairs
    monkeypatch.setattr(kept, "_pairs", lambda context: asked.append(context) or pairs(context))  # type: ignore[func-returns-value]
    context = Context(resource=[("env", STRING, "dev")])
    assert kept.classes(RULES, OTHERWISE, [Log(context, n, 0, None, []) for n in range(50)]) == [Class(4, 1)] * 50
    assert asked == [context]


def test_a_rule_into_the_class_that_it_has_anyway_makes_no_second_part_of_it() -> None:
    (found,) = kept.classes([Rule("env", "dev", 1, 2)], OTHERWISE, [log(("env", STRING, "dev"))])
    assert found == OTHERWISE
