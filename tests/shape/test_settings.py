"""Owns that the reference of settings says what `auditlog.conf` reads."""

from __future__ import annotations

import re

import pytest

from auditlog import conf

TABLE = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\| (.+) \|$", (conf.ROOT / "docs" / "reference" / "settings.md").read_text(), re.M)


def test_the_reference_lists_every_setting_with_its_default_and_sentence() -> None:
    assert [(setting.name, setting.default, setting.doc) for setting in conf.SETTINGS.values()] == TABLE


@pytest.mark.parametrize("setting", conf.SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_default_can_be_read(setting: conf.Setting) -> None:
    setting.read(setting.default)


@pytest.mark.parametrize(
    ("name", "value"), [("AUDITLOG_HTTP", "8000"), ("AUDITLOG_HTTP", "host:99999"), ("AUDITLOG_WORKERS", "0"), ("AUDITLOG_DEMO", "perhaps")]
)
def test_a_value_that_cannot_be_read_is_named_with_its_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(conf.SettingError, match=f"{name}='{value}'"):
        conf.get(name)
