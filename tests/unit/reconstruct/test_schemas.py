"""Arguments against the schemas that were offered: valid, invalid with the places, or not to be checked."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.reconstruct.keys import ByIdentity
from auditlog.reconstruct.schemas import MOST_ERRORS, Checker
from auditlog.reconstruct.surely import surely
from tests.item_strategies import json_values
from tests.unit.reconstruct.build import call, model, told, tools_of

PAY = {
    "type": "object",
    "properties": {"amount": {"type": "number", "multipleOf": 0.01}, "to": {"type": "string", "pattern": "^[A-Z]{2,5}-[0-9]+$"}},
    "required": ["amount"],
    "additionalProperties": False,
}


def check(schema: Any, arguments: Any) -> tuple[bool | None, list[dict[str, str]]]:
    return tuple(Checker().check(schema, arguments))  # type: ignore[return-value]


def test_valid_arguments_are_valid() -> None:
    assert check(PAY, {"amount": 19.99, "to": "ACME-2024"}) == (True, [])
    assert check({**PAY, "$schema": "http://json-schema.org/draft-07/schema#"}, {"amount": 1}) == (True, [])


def test_each_error_points_to_its_place() -> None:
    assert check(PAY, {"amount": "much", "to": "x", "a/b": 1}) == (
        False,
        [
            {"pointer": "", "message": "Additional properties are not allowed ('a/b' was unexpected)"},
            {"pointer": "/amount", "message": "'much' is not of type 'number'"},
            {"pointer": "/to", "message": "'x' does not match '^[A-Z]{2,5}-[0-9]+$'"},
        ],
    )
    nested = {"properties": {"a/b": {"items": {"type": "integer"}}}}
    assert check(nested, {"a/b": [1, "x"]})[1] == [{"pointer": "/a~1b/1", "message": "'x' is not of type 'integer'"}]


def test_the_drafts_differ_where_they_differ() -> None:
    pair = {"items": [{"type": "string"}, {"type": "integer"}]}
    assert check({**pair, "$schema": "http://json-schema.org/draft-07/schema#"}, ["a", "b"])[0] is False
    assert check({"prefixItems": pair["items"]}, ["a", "b"])[0] is False


NAMES = st.sampled_from(["a", "b", "c"])
TYPE_NAMES = st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object"])
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.fixed_dictionaries({}, optional={"type": TYPE_NAMES | st.lists(TYPE_NAMES, min_size=1, unique=True)}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": TYPE_NAMES,
            "properties": st.dictionaries(NAMES, inner),
            "required": st.lists(NAMES, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "enum": st.lists(st.sampled_from(["a", "b", 1, True, None]), min_size=1),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "not": inner,
            "format": st.just("date"),
            "title": NAMES,
        },
    ),
    max_leaves=6,
)
SMALL: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["a", "b", "", 1, 1.0, 0.5, True, False, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=400)
@given(SCHEMAS, SMALL, st.sampled_from(["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]))
def test_a_quick_yes_is_what_the_validator_says(schema: Any, value: Any, draft: str) -> None:
    schema = {**schema, "$schema": draft} if isinstance(schema, dict) else schema
    quick = surely(schema, jsonschema.Draft202012Validator.VALIDATORS)
    validator = jsonschema.Draft7Validator if "draft-07" in draft else jsonschema.Draft202012Validator
    if quick is not None and quick(value):
        assert validator(schema).is_valid(value)


def test_a_schema_of_the_commonest_keywords_is_answered_quickly_and_any_other_is_left_to_the_validator() -> None:
    tool = {"type": "object", "properties": {"id": {"type": "string"}, "n": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}
    quick = surely(tool, jsonschema.Draft202012Validator.VALIDATORS)
    assert quick is not None
    assert quick({"id": "x", "n": None, "more": 1})
    assert not quick({"id": 1})
    others: list[Any] = [
        {"$ref": "#"},
        {"minLength": 1},
        {"properties": {"a": {"pattern": "x"}}},
        {"items": [{}]},
        {"patternProperties": {}},
    ]
    for other in others:
        assert surely(other, jsonschema.Draft7Validator.VALIDATORS) is None


def test_types_in_capitals_are_types() -> None:
    assert check({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, {"a": 1})[0] is False
    assert check({"type": "OBJECT", "properties": {"type": {"type": "STRING"}}}, {"type": "OBJECT"}) == (True, [])


@pytest.mark.parametrize(
    "schema",
    [
        None,
        "object",
        {"type": 7},
        {"type": "unheard"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#"},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"properties": {"a": {"pattern": "(a|a)*$"}}},
        {"properties": {"a": {"pattern": "a*a*a*a*a*a*$"}}},
        {"properties": {"a": {"pattern": "["}}},
        {"patternProperties": {"(a+)+$": {}}, "additionalProperties": False},
        {"patternProperties": {"^a+$": {}}},
        {"description": "x" * 300_000},
    ],
)
def test_what_cannot_be_checked_is_not_called_valid(schema: Any) -> None:
    assert check(schema, {"a": "a" * 60}) == (None, [])


def test_a_pattern_that_costs_too_much_for_this_value_is_left_out() -> None:
    schema = {"properties": {"a": {"pattern": "^[a-z]*[a-z]*[a-z]*x$"}, "b": {"type": "integer"}}}
    assert check(schema, {"a": "aaax"}) == (True, [])
    assert check(schema, {"a": "a" * 5_000}) == (None, [])
    assert check(schema, {"a": "a" * 5_000, "b": "x"})[0] is False  # what was checked is wrong all the same


@pytest.mark.parametrize("group", ["(|a)", "(a|aa)", "(?:a|a)", "((a|b)|a)"])
def test_alternatives_one_after_the_other_are_not_tried_in_every_combination(group: str) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string", "pattern": "^" + group * 16 + "$"}}}
    assert check(schema, {"to": "a" * 30 + "!"}) == (None, [])


def test_one_choice_among_many_words_is_checked() -> None:
    words = "|".join(f"w{n}" for n in range(40))
    schema = {"type": "object", "properties": {"to": {"type": "string", "pattern": f"^({words})$"}}}
    assert check(schema, {"to": "w7"})[0] is True
    assert check(schema, {"to": "x"})[0] is False


def test_references_that_double_at_every_turn_are_bounded() -> None:
    doubled: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    assert check({"$defs": {**doubled, "d40": {"type": "object"}}, "$ref": "#/$defs/d0"}, {}) == (None, [])


def test_references_within_the_schema_are_followed() -> None:
    tree = {"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"}
    assert check(tree, {"next": {"next": 1}})[1] == [{"pointer": "/next/next", "message": "1 is not of type 'object'"}]


def test_errors_and_their_messages_are_bounded() -> None:
    valid, errors = check({"items": {"type": "integer"}}, ["x" * 5_000, *map(str, range(500))])
    assert (valid, len(errors)) == (False, MOST_ERRORS)
    assert all(len(e["message"]) <= 300 for e in errors)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(json_values, json_values)
def test_no_schema_and_no_arguments_break_the_check(schema: Any, arguments: Any) -> None:
    valid, errors = check({"type": "object", "properties": {"a": schema}, "allOf": [schema]}, {"a": arguments})
    assert valid in (True, False, None) and bool(errors) == (valid is False)


def test_what_is_made_of_an_object_is_remembered_while_it_is_small_and_of_that_object_alone() -> None:
    made: list[Any] = []

    def make(thing: Any) -> int:
        made.append(thing)
        return len(made)

    remembered = ByIdentity(make, lambda _: len(made[-1]["text"]))
    one, equal = {"text": "x"}, {"text": "x"}
    assert [remembered(one), remembered(one), remembered(equal)] == [1, 1, 2]
    large = {"text": "x" * (ByIdentity.LARGEST + 1)}
    assert [remembered(large), remembered(large)] == [3, 4]
    for n in range(ByIdentity.MOST):  # no more than so many are held
        remembered({"text": str(n)})
    assert remembered(one) > 4


def test_a_schema_is_remembered_in_its_own_spelling() -> None:
    """What was checked before must not show: a session reads the same whenever it is reconstructed."""
    for limit in (250.0, 250, True):
        (error,) = check({"properties": {"amount": {"const": limit}}}, {"amount": 400})[1]
        assert error["message"] == f"{limit!r} was expected"


def test_a_step_tells_what_its_arguments_break() -> None:
    tools = [{"name": "pay", "parameters": PAY}, {"name": "look"}]
    shown = told(
        model(0, [], [call("a", "pay", {"amount": 1}), call("b", "pay", {}), call("c", "pay", "{"), call("d", "look", {})], tools=tools),
        model(3, [], [call("e", "pay", {})]),
    )
    assert [t["arguments_valid"] for t in tools_of(shown)] == [True, False, False, None, None]
    assert tools_of(shown)[1]["validation_errors"] == [{"pointer": "", "message": "'amount' is a required property"}]
    assert tools_of(shown)[2]["validation_errors"] == [{"pointer": "", "message": "The arguments are not JSON."}]
