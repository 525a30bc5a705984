from __future__ import annotations

import pytest

from pepr_edge.device.threads import NAMES, waiting_settings, with_passive_waiting


def test_threads_of_a_new_process_sleep_while_they_wait() -> None:
    environment = with_passive_waiting({"PATH": "/bin"})
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["KMP_BLOCKTIME"] == "0"
    assert environment["PATH"] == "/bin"


def test_the_users_own_values_stay() -> None:
    environment = with_passive_waiting({"OMP_WAIT_POLICY": "ACTIVE"})
    assert environment["OMP_WAIT_POLICY"] == "ACTIVE"


def test_the_settings_of_this_process_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert waiting_settings() == ""
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert waiting_settings() == "OMP_WAIT_POLICY=PASSIVE, GOMP_SPINCOUNT=1000"
