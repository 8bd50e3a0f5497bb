"""The same decision over every transport: a body sent as protobuf (as HTTP and gRPC carry it) and as JSON is told alike."""

from __future__ import annotations

import gzip

import pytest

from auditlog.ingest.decode import decode
from auditlog.item import LOG, SPAN, Item
from tests.corpus import CASES, arrived, case, items, names, timelines
from tests.otlp_forms import as_json, message_of


def sent_as(name: str, encoding: str) -> list[Item]:
    """The items of a case whose every body was converted."""
    out: list[Item] = []
    for body in case(name)["bodies"]:
        message = message_of(body["path"], gzip.decompress((CASES / name / body["file"]).read_bytes()), body["content_type"])
        raw = as_json(message) if encoding == "json" else message.SerializeToString()
        out += decode(raw, SPAN if body["path"].endswith("traces") else LOG, encoding)
    return out


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
@pytest.mark.parametrize("source", sorted({name.split("/")[0] for name in names()}))
def test_a_source_is_told_alike_in_either_encoding(source: str, encoding: str) -> None:
    for name in (n for n in names() if n.split("/")[0] == source):
        expected, converted = items(name), sent_as(name, encoding)
        # A timeline depends on its items alone, so equal items need no second look; what a conversion respells does.
        if converted != expected:
            assert timelines(arrived(converted)) == timelines(arrived(expected)), name
