"""Owns where telemetry of the service goes: what the standard variables say, nowhere by default, and never to the service itself."""

from __future__ import annotations

import pytest

from auditlog import conf
from auditlog.platform import otlp_target
from auditlog.platform.otlp_target import Target

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"
ELSEWHERE = "http://127.0.0.1:9999"


@pytest.fixture(autouse=True)
def listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_HTTP", "0.0.0.0:8000")
    monkeypatch.setenv("AUDITLOG_OTLP_HTTP", "127.0.0.1:4318")
    monkeypatch.setenv("AUDITLOG_OTLP_GRPC", "127.0.0.1:4317")
    monkeypatch.setenv("AUDITLOG_ALLOWED_HOSTS", "127.0.0.1,audit.example.com")


def wanted(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[Target]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return otlp_target.wanted()


def test_nothing_is_exported_unless_a_variable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted(monkeypatch) == []


def test_one_endpoint_is_for_both_signals_each_at_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted(monkeypatch, **{BASE: ELSEWHERE + "/"}) == [
        Target("metrics", "http/protobuf", f"{ELSEWHERE}/v1/metrics", BASE),
        Target("traces", "http/protobuf", f"{ELSEWHERE}/v1/traces", BASE),
    ]


def test_an_endpoint_of_one_signal_is_for_that_one_and_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
    assert wanted(monkeypatch, **{name: f"{ELSEWHERE}/x"}) == [Target("metrics", "http/protobuf", f"{ELSEWHERE}/x", name)]


def test_a_signal_can_be_switched_off_and_over_grpc_there_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted(monkeypatch, **{BASE: ELSEWHERE}, OTEL_TRACES_EXPORTER="none", OTEL_EXPORTER_OTLP_PROTOCOL="grpc") == [
        Target("metrics", "grpc", ELSEWHERE, BASE)
    ]


def test_switched_off_altogether_nothing_is_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted(monkeypatch, **{BASE: "http://127.0.0.1:4318"}, OTEL_SDK_DISABLED="true") == []


def test_every_export_has_the_mark_beside_the_headers_of_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    (target, _) = wanted(monkeypatch, **{BASE: ELSEWHERE}, OTEL_EXPORTER_OTLP_HEADERS="api-key=k%201")
    assert target.headers() == {"api-key": "k 1", "x-auditlog-own-telemetry": "1"}


@pytest.mark.parametrize(
    "variables",
    [
        {BASE: "http://127.0.0.1:4318"},
        {BASE: "http://localhost:4318/"},
        {BASE: "http://0.0.0.0:4318"},
        {BASE: "http://127.0.0.1:8000"},  # the web port takes OTLP as well; it listens everywhere, and 127.0.0.1 is here
        {BASE: "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {BASE: "localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {BASE: "https://audit.example.com"},
        {BASE: "https://AUDIT.example.com:4318/otlp"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "otlp"},  # the default endpoint is the port on which the service listens
    ],
    ids=str,
)
def test_an_address_of_the_service_itself_is_refused_with_the_variable_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    found = wanted(monkeypatch, **variables)
    assert found and all(target.is_here() for target in found)
    assert {next(iter(variables))} == {target.variable for target in found}
    assert all(otlp_target.refusal(target).startswith(f"{target.variable} sends ") for target in found)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.2:4318", "http://127.0.0.1:4319", "https://audit.example.com:9443"])
def test_another_address_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    assert [target.is_here() for target in wanted(monkeypatch, **{BASE: endpoint})] == [False, False]


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"), (BASE, "collector:4318")]
)
def test_a_value_that_cannot_be_read_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(conf.SettingError, match=f"{name}='{value}'"):
        wanted(monkeypatch, **{BASE: ELSEWHERE, name: value})
