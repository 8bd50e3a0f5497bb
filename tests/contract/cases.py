"""Owns the catalogue of the conformance cases: number, request, expected answer, what it applies to, and our choice where there is one.

`over`: the transports, `of`: the signals that a case has to be proven with, each with each.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TRACES, LOGS = ("traces",), ("logs",)
BOTH: Final = TRACES + LOGS
PROTOBUF, JSON, GRPC = ("protobuf",), ("JSON",), ("gRPC",)
ENCODED: Final = PROTOBUF + JSON  # OTLP/HTTP, where the encoding matters
ALL: Final = ENCODED + GRPC
HTTP: Final = ("HTTP",)  # neither encoding was named


class Case(NamedTuple):
    number: int
    request: str
    answer: str
    over: tuple[str, ...] = ALL
    of: tuple[str, ...] = BOTH
    choice: str = ""  # what we do where the specification leaves it open
    but: str = ""  # what could not be tested here, and why
    pending: str = ""  # why there is no test yet


CASES: Final = (
    # success
    Case(1, "valid traces", "200, `application/x-protobuf`, an empty ExportTraceServiceResponse", PROTOBUF, TRACES),
    Case(2, "valid logs", "200, `application/x-protobuf`, an empty ExportLogsServiceResponse", PROTOBUF, LOGS),
    Case(3, "valid traces", "200, `application/json`, `{}`", JSON, TRACES),
    Case(4, "valid logs", "200, `application/json`, `{}`", JSON, LOGS),
    Case(5, "a body of no bytes", "200 (SHOULD)", PROTOBUF),
    Case(6, "`{}`", "200", JSON),
    Case(7, "a body of no bytes", "400 with a Status in JSON", JSON),
    Case(8, "ResourceSpans or ResourceLogs without items", "200, nothing is stored"),
    # head of a request
    Case(9, "Content-Type `application/json; charset=utf-8`", "200", JSON),
    Case(10, "Content-Type `APPLICATION/JSON`", "200", JSON),
    Case(11, "no Content-Type", "415", HTTP),
    Case(12, "Content-Type `text/plain`", "415, no redirect", HTTP),
    Case(13, "Content-Type of protobuf, body of JSON", "400 with a Status in protobuf", PROTOBUF),
    Case(14, "GET, PUT", "405 with `Allow: POST`", ENCODED),
    Case(15, "an unknown path such as /v1/foo", "404, never 3xx", ENCODED, ()),
    Case(16, "`/v1/traces/` with a slash at the end", "never 301", ENCODED, choice="The same as without it"),
    Case(17, "no key", "401 with a Status (UNAUTHENTICATED), never 302"),
    Case(18, "a key that is revoked, expired or unknown", "401 (UNAUTHENTICATED)"),
    Case(19, "the cookie of a login that has expired instead of a key", "401", ENCODED),
    Case(20, "metrics, which are not stored", "404, UNIMPLEMENTED: not to be repeated", ALL, ()),
    # compression and sizes
    Case(21, "gzip", "200, stored equal", PROTOBUF),
    Case(22, "gzip", "200, stored equal", JSON),
    Case(23, "zstd", "200, stored equal", ENCODED),
    Case(24, "deflate (zlib)", "200, stored equal", ENCODED),
    Case(25, "`Content-Encoding: identity`", "200", ENCODED),
    Case(26, "an unknown encoding, `br`", "400 or 415 with a Status", ENCODED, choice="415"),
    Case(27, "said to be gzip, and is not", "400", ENCODED),
    Case(28, "gzip that was cut off", "400, nothing is stored", ENCODED),
    Case(29, "gzip of several members", "the whole content is stored", ENCODED),
    Case(30, "`Content-Encoding: gzip, gzip`", "400 or 415", ENCODED, choice="415"),
    Case(31, "a body of exactly the limit", "200"),
    Case(32, "one byte more", "413 (MUST)", ENCODED),
    Case(33, "a gzip bomb: 65 KB that become 64 MiB and a byte", "413, the process stays small", ENCODED),
    Case(34, "a zstd bomb: a few KB that become more than 64 MiB", "413, the process stays small", ENCODED),
    Case(35, "zstd with a window of 128 MiB", "400 or 413", ENCODED, choice="400: windows up to 8 MiB are read"),
    Case(36, "chunked, without a Content-Length, over the limit", "413", ENCODED),
    Case(37, "fewer bytes than Content-Length says", "400, nothing is stored", ENCODED),
    Case(38, "5 MiB, which grpcio refuses by itself", "OK, stored", GRPC),
    Case(39, "over the limit, plain and gzip", "RESOURCE_EXHAUSTED without RetryInfo", GRPC),
    Case(40, "gzip", "OK, stored", GRPC),
    Case(41, "bytes that are no message", "INVALID_ARGUMENT with a BadRequest in its details", GRPC),
    Case(42, "an empty message", "OK", GRPC),
    # values
    Case(43, "hexadecimal IDs in lower, upper and mixed case", "the same 16 and 8 bytes", JSON),
    Case(44, "an ID of another length among good items", "200, one item rejected with a message, the rest is stored"),
    Case(45, "an ID in base64 (24 characters)", "the item is rejected, never misread", JSON),
    Case(46, "a trace ID of zeros", "rejected or flagged", choice="A span is rejected; a log record, which needs none, is stored as sent"),
    Case(47, "int64 as text and as number", "200, the same value", JSON),
    Case(48, "9007199254740993, which a double cannot hold", "exact"),
    Case(49, "more than an int64 holds", "the item is rejected", JSON),
    Case(50, "an enum as a number", "200, stored", JSON),
    Case(51, "an enum by its name", "the item is rejected (MUST NOT be used)", JSON),
    Case(52, "an unknown enum number, 99", "stored as 99"),
    Case(53, "an unknown field at every level", "ignored (MUST)"),
    Case(54, "names in snake_case", "unknown, so ignored", JSON),
    Case(55, "members that are null", "as if absent", JSON),
    Case(56, "a repeated member", "the same in every parser", JSON, choice="The last one counts, at every level"),
    Case(57, "the doubles NaN and Infinity; bare `NaN` in JSON", "stored and shown; bare is 400"),
    Case(58, "bytesValue in base64", "the bytes"),
    Case(59, "NUL in texts", "stored and returned as sent"),
    Case(60, "half a surrogate pair, `\\ud800`", "its item is kept as sent, its neighbours are stored", JSON),
    Case(61, "a text that is no UTF-8", "its item is kept as sent, its neighbours are stored", PROTOBUF + GRPC),
    Case(62, "a value nested 40 deep", "200, stored"),
    Case(
        63, "a value nested 5,000 deep", "400, the worker lives",
        choice="JSON: 400. Protobuf and gRPC can tell where the item ends: it is kept as sent, its neighbours are stored",
    ),
    Case(64, "three good items and a bad one", "200, one rejected with a message; three are stored, one is in quarantine"),
    Case(65, "nothing wrong, but worth a word", "200, none rejected, a message", JSON, choice="Only a request without items is worth one"),
    Case(66, "only bad items", "200, all rejected", choice="All are kept in quarantine"),
    # refusals
    Case(
        67, "whatever is answered 4xx or 5xx", "a google.rpc.Status in the encoding of the request", ENCODED,
        choice="No OTLP request reaches Django, whatever its Host or path. What is no HTTP at all is refused without a body",
    ),
    Case(68, "every answer", "the Content-Type of the request", ENCODED),
    Case(69, "overload", "429 or 503 with a Retry-After of 1 to 3", choice="503, UNAVAILABLE"),
    Case(70, "UNAVAILABLE", "RetryInfo in the details and as a trailer", GRPC),
    Case(71, "the database is away", "503, UNAVAILABLE: never 500, never 200"),
    Case(72, "the disk is full", "503, UNAVAILABLE, to be repeated"),
    Case(73, "an error that nobody foresaw", "503, UNAVAILABLE; nothing is stored, the log has an error"),
    Case(74, "more than a quota", "429 with a short Retry-After, losses are counted", choice="gRPC: RESOURCE_EXHAUSTED with RetryInfo"),
    # once and durable
    Case(75, "the same batch again", "200, nothing is stored twice"),
    Case(76, "committed, and the connection was cut before the answer; sent again", "200, stored once"),
    Case(77, "the same span ID with other content", "both are kept"),
    Case(78, "two workers are sent the same batch at once", "both 200, stored once"),
    Case(79, "kill -9 after the answer", "it is stored"),
    Case(80, "kill -9 before the answer; sent again", "stored once"),
    Case(
        81, "SIGTERM", "what is in flight is answered and stored, new requests go elsewhere",
        choice="New connections are refused or answered 503, new calls are UNAVAILABLE: exporters try again",
    ),
    Case(82, "every answer that asks for another try", "Retry-After of 1, 2 or 3, RetryInfo alike"),
    Case(83, "`Accept-Encoding: gzip`", "may be gzip", ENCODED, choice="It is not: answers are short"),
    Case(84, "100,000 rejected items", "an answer below 4 MiB"),
    Case(85, "1,000 requests over one connection", "200 each"),
    Case(86, "requests pipelined; a body that stalls", "all are answered, in order; 503, because 408 is not repeated", ENCODED),
    Case(87, "grpc.health.v1 Check, of \"\" and of each service", "SERVING; NOT_SERVING while the database takes no writes", GRPC, ()),
    Case(88, "`/healthz` and `/readyz`", "alive always; ready only while the database is there", HTTP, ()),
    Case(89, "the same key as HTTP header and as gRPC metadata", "both are accepted"),
    Case(90, "a CORS preflight of a foreign origin", "no allowing header", ENCODED),
    Case(91, "a timestamp of 2^64-1", "stored as sent"),
    Case(
        92, "an end before the start; a start of 0", "stored as sent, flagged",
        choice="An end before the start is a gap of its session; 0 is shown as no time; a log record has no end",
    ),
    Case(93, "10,000 attributes, one of 1 MB, and 1,000 events", "stored whole"),
    Case(94, "random messages", "read back equal"),
    Case(
        95, "the exporters of Python (HTTP, gRPC) and JavaScript (protobuf, JSON, gRPC), with all their compressions", "all stored",
        but="the Collector's binary is in none of PyPI, npm and Debian, so it was not run: a request as its configuration makes it was",
    ),
)  # fmt: skip
