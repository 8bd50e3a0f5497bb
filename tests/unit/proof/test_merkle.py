"""Owns the checks of the Merkle tree against RFC 6962's own definition and published test vectors."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.proof import merkle

# The test vectors of certificate-transparency's Merkle tree tests: eight leaves, and the roots over the first n of them.
LEAVES = [bytes.fromhex(leaf) for leaf in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it: recursive, split at the largest power of two below n."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_equal_the_published_vectors(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size - 1]


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_root_equals_the_definition_of_the_rfc(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == by_definition(leaves)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_a_path_proves_its_leaf_and_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = merkle.root(leaves), merkle.inclusion(leaves, index)
    assert merkle.included(leaves[index], index, len(leaves), path, root)
    assert not merkle.included(leaves[index] + b"x", index, len(leaves), path, root)
    assert not merkle.included(leaves[index], index, len(leaves), [*path, b"\0" * 32], root)
    if path:
        assert not merkle.included(leaves[index], index, len(leaves), path[:-1], root)


def test_the_order_of_digests_does_not_change_a_batch_root() -> None:
    digests = [hashlib.sha256(bytes([n])).digest() for n in range(9)]
    assert merkle.batch_root(digests) == merkle.batch_root(reversed(digests)) == merkle.root(sorted(digests))
    assert merkle.batch_root([]) == merkle.EMPTY_ROOT


def test_an_index_outside_the_tree_is_refused() -> None:
    with pytest.raises(IndexError):
        merkle.inclusion([b"a"], 1)
    assert not merkle.included(b"a", 1, 1, [], merkle.root([b"a"]))
