"""Owns what an event commits to: salts, commitments of fields, and the digest. Pure mathematics, shared with the offline verifier.

An event is stored as a *skeleton* (never erased) and its *values* (erasable). The skeleton holds one commitment per field:

    commitment = SHA-256(salt of the field || entries)

`entries` is the canonical MessagePack array of the field's values as it stands in `event.vals`: a short value in place, a
long one as extension 1 with the SHA-256 of its bytes, a shared run of earlier elements as extension 2 with the SHA-256 of its
node. Without the salt (128 random bits) a commitment says nothing about even a three-digit value; the salts of all fields are
one SHAKE-128 expansion of a seed, so that erasing a field means: forget its entries, write down the other salts, forget the seed.
"""

from __future__ import annotations

import hashlib
from typing import Final

SALT_BYTES: Final = 16
FIELD_COUNT: Final = 12  # fields are numbered 1 to 12 (store/fields.py); more may follow, numbers are never used again


def salts(seed: bytes) -> bytes:
    """All salts of an event, 16 bytes each, that of field n at 16 * n (n = 0 is unused)."""
    return hashlib.shake_128(seed).digest(SALT_BYTES * (FIELD_COUNT + 1))


def salt_of(all_salts: bytes, field: int) -> bytes:
    return all_salts[SALT_BYTES * field : SALT_BYTES * (field + 1)]


def commitment(salt: bytes, entries: bytes) -> bytes:
    """32 bytes. `entries`: the field's values as canonical MessagePack (see above)."""
    return hashlib.sha256(salt + entries).digest()


def digest(skeleton: bytes) -> bytes:
    """The digest of an event, 32 bytes: what Merkle leaves and receipts are made of."""
    return hashlib.sha256(skeleton).digest()
