"""Owns the promises of `auditlog.keys`."""

import pytest

from auditlog import keys
from auditlog.errors import Problem


def test_a_key_that_was_made_tells_its_public_id() -> None:
    made = keys.make()
    assert made.text.startswith("al_")
    assert keys.parse(made.text) == made.public_id
    assert made.digest == keys.digest(made.text)
    assert len(made.text) == 3 + 12 + 1 + 32 + 6


def test_no_two_keys_are_alike() -> None:
    made = [keys.make() for _ in range(50)]
    assert len({key.public_id for key in made}) == 50
    assert len({key.digest for key in made}) == 50


@pytest.mark.parametrize("position", [3, 10, 16, 40, 52])
def test_one_mistyped_character_is_noticed_without_a_database(position: int) -> None:
    text = keys.make().text
    other = "x" if text[position] != "x" else "y"
    with pytest.raises(Problem) as caught:
        keys.parse(text[:position] + other + text[position + 1 :])
    assert caught.value.code == "key_unknown"


@pytest.mark.parametrize("text", ["", "al_", "Bearer al_", "al_" + "a" * 12 + "_" + "b" * 37, "al_" + "ä" * 12 + "_" + "b" * 38, "\ud800"])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Problem) as caught:
        keys.parse(text)
    assert caught.value.kind.http == 401
    assert len(text) < 4 or text not in caught.value.message


def test_a_key_with_a_line_break_behind_it_is_no_key() -> None:
    with pytest.raises(Problem):
        keys.parse(keys.make().text + "\n")
