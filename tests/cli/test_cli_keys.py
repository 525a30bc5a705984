from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import command_line
import pytest
import signed_files

pytest.importorskip("cryptography", reason="the package cryptography is not installed")


def test_a_pair_is_made_shown_and_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "clinic"
    done = command_line.run(capsys, monkeypatch, "keys", "make", key)
    assert done.status == 0
    assert done.out.splitlines()[0] == f"private key  {key}"
    assert "secret" in done.err
    before = key.read_bytes()
    shown = command_line.run(capsys, monkeypatch, "keys", "show", f"{key}.pub")
    fingerprint, name = shown.out.splitlines()[1].split()
    assert fingerprint in done.out
    assert name == "clinic"
    document = json.loads(command_line.run(capsys, monkeypatch, "keys", "show", f"{key}.pub", "--json").out)
    assert document == {"keys": [{"name": "clinic", "fingerprint": fingerprint}]}
    again = command_line.run(capsys, monkeypatch, "keys", "make", key)
    assert (again.status, again.out, again.err.count("\n")) == (1, "", 1)
    assert key.read_bytes() == before


def test_json_names_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("keys", "make", tmp_path / "k", "--name", "Vendor A", "--json")
    document = json.loads(command_line.run(capsys, monkeypatch, *words).out)
    assert document["public_key"] == str(tmp_path / "k.pub")
    assert document["fingerprint"].startswith("SHA256:")
    assert (tmp_path / "k.pub").read_text().endswith(" Vendor A\n")


def test_a_passphrase_is_asked_for_on_a_terminal_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bcrypt", reason="the package bcrypt is not installed")
    key = tmp_path / "k"
    words = ("keys", "make", key, "--passphrase")
    done = command_line.run(capsys, monkeypatch, *words)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "no terminal" in done.err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)

    def answer(text: str, **options: Any) -> str:
        assert options["hide_input"]
        return "open sesame"

    monkeypatch.setattr(click, "prompt", answer)
    assert command_line.run(capsys, monkeypatch, *words).status == 0
    sign = ("export", tmp_path / "none", "--sign", key)
    assert "no run directory" not in command_line.run(capsys, monkeypatch, *sign).err
    monkeypatch.setattr(click, "prompt", lambda *words, **options: "close sesame")
    assert "wrong passphrase" in command_line.run(capsys, monkeypatch, *sign).err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    done = command_line.run(capsys, monkeypatch, *sign)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "no terminal to ask on" in done.err


def test_without_the_extra_every_command_says_what_to_install(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = signed_files.pair(tmp_path, "vendor")
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    for words in (
        ("verify", bundle, "--trust", made.public),
        ("predict", bundle, tmp_path / "x.png", "--trust", made.public),
        ("bench", bundle, "--trust", made.public),
        ("bench", bundle, "--sign", made.private, "--out", tmp_path / "r.json"),
        ("rank", tmp_path, "--field", tmp_path / "r.json", "--trust", made.public),
        ("export", tmp_path, "--sign", made.private),
        ("keys", "make", tmp_path / "k"),
    ):
        done = command_line.run(capsys, monkeypatch, *words)
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1), words
        assert "pip install 'pepr_edge[sign]'" in done.err
