"""docs/tutorial.md, run line by line as a reader would, on the images that it makes."""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command_line
import pytest
import tiny_bundle

from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.load import busy_message
from pepr_edge.kit import make as kit

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
# A test cannot install: test_kit_install runs the kit's installer, and CI installs as the documents say.
NOT_RUN = ("pip install", "sh install.sh")


def script() -> str:
    """The program that the page tells its reader to write."""
    return TUTORIAL.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


def steps() -> Iterator[tuple[str, list[str]]]:
    """Each command line of the page, and what it shows below it."""
    command, shown = "", list[str]()
    for line in [
        *TUTORIAL.read_text(encoding="utf-8").split("```python")[0].splitlines(),
        *_after_script(),
        "end",
    ]:
        if line.startswith("    $ ") or (command and not line.startswith("    ")):
            if command:
                yield command, shown
            command, shown = line.removeprefix("    $ ") if line.startswith("    $ ") else "", []
        elif command:
            shown.append(line.strip())


def _after_script() -> list[str]:
    return TUTORIAL.read_text(encoding="utf-8").split("```")[2].splitlines()


def pattern(line: str) -> str:
    """A shown line as what may be printed: any number for a number, any text for three dots, any spacing."""
    parts = [re.escape(part) for part in re.split(r"\.\.\.", " ".join(line.split()))]
    return ".*".join(re.sub(r"\d+(?:\\\.\d+)?", r"[\\d.,]+", part) for part in parts)


def test_the_page_shows_commands_and_what_they_print() -> None:
    found = dict(steps())
    assert len(found) >= 15
    assert found["pepr-edge recipes check recipe.toml"] == ["recipe: ok"]
    assert re.search(pattern("a 0.768 after ... epochs"), "a 0.4 after 15 epochs")
    assert not re.search(pattern("a 0.768 after"), "a b after")


def no_wheels(patch: pytest.MonkeyPatch) -> None:
    """A kit's wheels without a package index."""

    def own(folder: Path) -> Path:
        (folder / "pepr_edge-1-py3-none-any.whl").write_bytes(b"own")
        return folder / "pepr_edge-1-py3-none-any.whl"

    def fetch(own: Path, name: str, python: str, folder: Path, said: Any) -> None:
        (folder / "pip-1-py3-none-any.whl").write_bytes(b"pip")

    patch.setattr(kit.own_wheel, "make", own)
    patch.setattr(kit.wheels, "fetch", fetch)


@pytest.fixture
def one_core() -> Iterator[None]:
    """Threads that wait for each other on a busy machine take minutes over models of this size."""
    if not hasattr(os, "sched_setaffinity") or not busy_message(usable_cores()):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
def test_every_command_does_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_bundle.measure_briefly(monkeypatch)
    no_wheels(monkeypatch)
    # Shorter than for a reader, like the wheels and the measurements.
    for name in ("MIN_EPOCHS", "MAX_EPOCHS"):
        monkeypatch.setattr(f"pepr_edge.recipe.settings.{name}", 4)
    Path("make_images.py").write_text(script())
    for line, shown in steps():
        if line.startswith(NOT_RUN):
            continue
        words = command_line.words_of(line.removeprefix("sh "))
        said = ""
        if words[0] == "cd":
            os.chdir(words[1])
        elif words[0] == "python":
            runpy.run_path(words[1])
        else:
            done = command_line.run(capsys, monkeypatch, *words[1:])
            assert done.status == 0, f"{line}\n{done.err}"
            said = " ".join((done.err + done.out).split())
        for wanted in shown:
            assert re.search(pattern(wanted), said), f"{line}\nshows {wanted!r}, but it said\n{said}"
