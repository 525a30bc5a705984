from __future__ import annotations

import json

import command_line
import pytest


def test_list_shows_all_and_filters(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = command_line.run(capsys, monkeypatch, "zoo", "list")
    assert len(done.out.splitlines()) == 1 + 131
    small = json.loads(
        command_line.run(capsys, monkeypatch, "zoo", "list", "--max-params", 6, "--family", "cnn", "--efficient", "--json").out
    )["architectures"]
    names = [row["name"] for row in small]
    assert "mobilenetv2_050" in names
    assert all(row["family"] == "CNN" and row["efficient"] and row["num_params"] <= 6e6 for row in small)
    assert [row["num_params"] for row in small] == sorted(row["num_params"] for row in small)
