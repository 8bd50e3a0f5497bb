"""Owns that docker-compose.yml starts what `manage.py serve` starts, with settings and files that exist."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from auditlog import conf
from auditlog.platform import roster

COMPOSE: dict[str, Any] = yaml.safe_load((conf.ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "auditlog"}


def plain(command: tuple[str, ...]) -> list[str]:
    """A role's command without the paths of this machine."""
    return ["python" if part == command[0] else part.removeprefix(f"{conf.ROOT}/") for part in command]


@pytest.mark.parametrize("role", roster.roles(), ids=lambda role: role.name)
def test_every_process_of_serve_is_a_service_with_the_same_command(role: roster.Role) -> None:
    assert SERVICES[role.name]["command"] == plain(role.command)


def test_there_is_no_other_service_of_ours_than_those_and_setup() -> None:
    assert set(OURS) == {role.name for role in roster.roles()} | {"setup"}


def test_every_setting_that_it_gives_exists() -> None:
    for name, service in OURS.items():
        assert set(service["environment"]) <= set(conf.SETTINGS), name


def test_only_setup_holds_the_owners_url() -> None:
    assert [name for name, service in OURS.items() if "DATABASE_URL" in service["environment"]] == ["setup"]


def test_every_service_waits_for_setup_and_keeps_the_keys_on_the_shared_volume() -> None:
    for name, service in OURS.items():
        assert "data:/data" in service["volumes"], name
        assert name == "setup" or service["depends_on"]["setup"]["condition"] == "service_completed_successfully"


def test_the_key_of_the_log_lies_on_a_volume_that_the_sealer_alone_sees() -> None:
    key = SERVICES["sealer"]["environment"]["AUDITLOG_LOG_KEY"]
    (volume,) = [mount.partition(":")[0] for mount in SERVICES["sealer"]["volumes"] if key.startswith(mount.partition(":")[2] + "/")]
    assert [name for name, service in SERVICES.items() if any(volume in mount for mount in service.get("volumes", []))] == ["sealer"]
    assert [name for name, service in OURS.items() if "AUDITLOG_LOG_KEY" in service["environment"]] == ["sealer"]
    assert key.rpartition("/")[0] in (conf.ROOT / "Dockerfile").read_text()  # it exists there, with the owner that the service runs as


def test_each_listener_listens_on_every_address_of_its_own_container_and_is_asked_for_by_name() -> None:
    for role in roster.roles():
        if role.port:
            host, port = SERVICES[role.name]["environment"][role.port].split(":")
            assert host == "0.0.0.0"
            assert any(entry.endswith(f":{port}") for entry in SERVICES[role.name]["ports"])
            if role.name != "web":
                assert SERVICES["web"]["environment"][role.port] == f"{role.name}:{port}"


def test_the_image_copies_what_exists_and_installs_by_hash() -> None:
    lines = (conf.ROOT / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY "):
            for source in line.split()[1:-1]:
                assert (conf.ROOT / source).exists(), source
    assert any("--require-hashes" in line for line in lines)
