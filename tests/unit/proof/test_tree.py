"""Owns the checks of the growing tree, its tiles and proofs: RFC 6962's definitions written a second time, and published vectors."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.proof import merkle, tiles, tree
from tests.unit.proof.test_merkle import LEAVES, ROOTS, by_definition

LEAF = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in LEAVES]
# Proofs of the same tree, as certificate-transparency's tests publish them: (index, size) and (old, new).
PATHS = {
    (0, 1): [],
    (0, 8): ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"],
    (5, 8): ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
             "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"],
}  # fmt: skip
GROWTH = {
    (1, 1): [],
    (1, 8): ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"],
    (6, 8): ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
             "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"],
    (2, 5): ["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"],
}  # fmt: skip


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def mth(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, over hashes of leaves."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    k = split(len(leaves))
    return node(mth(leaves[:k]), mth(leaves[k:]))


def split(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def proof(m: int, leaves: Sequence[bytes], complete: bool = True) -> list[bytes]:
    """PROOF of RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if complete else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*proof(m, leaves[:k], complete), mth(leaves[k:])]
    return [*proof(m - k, leaves[k:], False), mth(leaves[:k])]


def reading(leaves: Sequence[bytes]) -> tree.ReadNodes:
    """Every node that exists, computed from the leaves; to ask for one that does not is an error."""

    def one(level: int, index: int) -> bytes:
        assert index + 1 << level <= len(leaves), "only complete subtrees exist"
        return mth(leaves[index << level : index + 1 << level])

    return lambda nodes: [one(*each) for each in nodes]


def hashes(count: int) -> list[bytes]:
    return [hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(count)]


def test_the_second_writing_agrees_with_the_first() -> None:
    assert mth(LEAF) == by_definition(LEAVES)


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_inclusion_proofs_equal_the_published_vectors(index: int, size: int) -> None:
    assert [step.hex() for step in tree.inclusion(index, size, reading(LEAF[:size]))] == PATHS[index, size]


@pytest.mark.parametrize(("old", "new"), GROWTH)
def test_consistency_proofs_equal_the_published_vectors(old: int, new: int) -> None:
    found = tree.consistency(old, new, reading(LEAF[:new]))
    assert [step.hex() for step in found] == GROWTH[old, new]
    assert tree.consistent(old, bytes.fromhex(ROOTS[old - 1]), new, bytes.fromhex(ROOTS[new - 1]), found)


def test_roots_of_the_growing_tree_equal_the_published_vectors() -> None:
    edge = tree.Edge()
    assert edge.root() == merkle.EMPTY_ROOT
    for size, leaf in enumerate(LEAF, 1):
        assert edge.append([leaf]) == []
        assert (edge.size, edge.root().hex()) == (size, ROOTS[size - 1])


SIZES = st.one_of(st.integers(1, 70), st.sampled_from([255, 256, 257, 511, 512, 513, 700]))


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_every_proof_equals_the_definition_and_is_accepted_and_a_changed_one_is_not(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(n.to_bytes(4, "big")) for n in range(size)]
    whole, read = mth(leaves), reading(leaves)
    assert tree.root(size, read) == whole
    index = data.draw(st.integers(0, size - 1))
    found = tree.inclusion(index, size, read)
    assert found == path(index, leaves)
    assert merkle.included(index.to_bytes(4, "big"), index, size, found, whole)
    old = data.draw(st.integers(1, size))
    steps = tree.consistency(old, size, read)
    assert steps == proof(old, leaves)
    before = mth(leaves[:old])
    assert tree.consistent(old, before, size, whole, steps)
    assert not tree.consistent(old, whole if old < size else before[::-1], size, whole, steps)
    assert not tree.consistent(old, before, size, before[::-1], steps)
    assert not tree.consistent(old, before, size, whole, [*steps, whole])
    if steps:
        at = data.draw(st.integers(0, len(steps) - 1))
        assert not tree.consistent(old, before, size, whole, [*steps[:at], steps[at][::-1], *steps[at + 1 :]])
        assert not tree.consistent(old, before, size, whole, steps[:-1])


@settings(deadline=None, max_examples=12)
@given(st.lists(st.one_of(st.integers(0, 9), st.integers(200, 300)), max_size=6))
def test_however_a_tree_grows_its_root_and_tiles_are_those_of_its_leaves(rounds: list[int]) -> None:
    grown(rounds)


def test_the_same_where_the_second_level_of_tiles_fills() -> None:
    grown([65_300, 235, 1, 1, 255])


def grown(rounds: list[int]) -> None:
    leaves = hashes(sum(rounds))
    edge, made, at = tree.Edge(), [], 0
    for count in rounds:
        made += edge.append(leaves[at : at + count])
        at += count
        again = tree.Edge(at, rows(made, leaves[:at]))  # as a start does: from the tiles, and the leaves that are in none
        assert again.root() == edge.root()
    assert edge.root() == merkle_root(leaves)
    level = leaves
    for number in range(3):
        complete = range(len(level) // 256)
        assert [tile for tile in made if tile.level == number] == [
            tree.Tile(number, n, b"".join(level[n * 256 : n * 256 + 256])) for n in complete
        ]
        level = [merkle_root(level[n * 256 : n * 256 + 256]) for n in complete]


def rows(made: list[tree.Tile], leaves: list[bytes]) -> list[list[bytes]]:
    found = [leaves[len(leaves) // 256 * 256 :]] if leaves else []
    for level in range(len(tree.widths(len(leaves))) - 1):
        below = [tile.hashes for tile in made if tile.level == level]
        roots = [tree.perfect([data[at : at + 32] for at in range(0, 8192, 32)]) for data in below[len(below) // 256 * 256 :]]
        found.append(roots)
    return found


def merkle_root(leaves: list[bytes]) -> bytes:
    """Level by level: the recursion above takes seconds over 65,000 leaves."""
    level = leaves
    while len(level) > 1:
        pairs = [node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0] if level else merkle.EMPTY_ROOT


def test_an_edge_that_does_not_fit_its_size_is_refused() -> None:
    with pytest.raises(ValueError, match="right edge"):
        tree.Edge(3, [hashes(2)])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3)])
def test_a_leaf_outside_the_tree_has_no_path(index: int, size: int) -> None:
    with pytest.raises(IndexError):
        tree.inclusion(index, size, reading([]))


@pytest.mark.parametrize(("old", "new"), [(0, 1), (2, 1)])
def test_what_is_no_beginning_has_no_proof(old: int, new: int) -> None:
    with pytest.raises(IndexError):
        tree.consistency(old, new, reading([]))
    assert not tree.consistent(old, b"", new, b"", [b""])


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("tile/0/x001/x234/067", (0, 1_234_067, 256)),  # the specification's own example
        ("tile/0/273.p/112", (0, 273, 112)), ("tile/1/001.p/17", (1, 1, 17)), ("tile/2/000.p/1", (2, 0, 1)),  # a tree of 70,000 leaves
        ("tile/entries/000", (tiles.ENTRIES, 0, 256)), ("tile/entries/x001/000.p/255", (tiles.ENTRIES, 1000, 255)),
    ],
)  # fmt: skip
def test_an_address_names_a_tile_and_a_tile_has_one_address(address: str, named: tuple[int, int, int]) -> None:
    assert tiles.read(address) == named
    assert tiles.path(*named) == address


@pytest.mark.parametrize(
    "address",
    [
        "tile/0/1", "tile/0/0001", "tile/0/x000/001", "tile/00/001", "tile/64/000", "tile/0/001.p/256", "tile/0/001.p/0", "tile/0/001.p/01",
        "tile/entries", "tile/-1/000", "tile/0/001/", "tile/0/001\n", "tile/0/x001", "tile/0/٠٠١", "tile/0/" + "x999/" * 7 + "999",
    ],
)  # fmt: skip
def test_what_is_not_the_one_way_to_write_an_address_names_nothing(address: str) -> None:
    assert tiles.read(address) is None


@given(st.integers(0, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_every_tile_is_found_by_its_address(level: int, number: int, width: int) -> None:
    assert tiles.read(tiles.path(level, number, width)) == (level, number, width)


@given(st.lists(st.binary(max_size=70), max_size=9), st.data())
def test_a_bundle_gives_its_entries_back_and_a_cut_one_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    packed = tiles.bundle(entries)
    assert tiles.unbundle(packed) == entries
    if packed:
        at = data.draw(st.integers(0, len(packed) - 1))
        try:
            assert tiles.bundle(tiles.unbundle(packed[:at])) == packed[:at]
        except ValueError as error:
            assert "middle" in str(error)
