"""What the documents and the recipes tell people to type is what the command line takes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import command_line
import pytest
import tiny_bundle

from pepr_edge.cli import main
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import read

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "recipes").glob("*.toml")),
]
# A command is alone on an indented line, after a prompt, or after "Command:" in the head of a recipe.
COMMAND = re.compile(r"^(?:    (?:\$ )?|# Command:\s+)((?:pepr-edge|make) .*?)(?:\s+#.*)?$")


def commands(path: Path) -> list[str]:
    return [
        found[1] for line in path.read_text(encoding="utf-8").splitlines() if (found := COMMAND.match(line))
    ]


def test_the_readme_opens_with_the_two_commands() -> None:
    assert [line.split()[:2] for line in commands(ROOT / "README.md")[:2]] == [
        ["make", "demo"],
        ["make", "test"],
    ]


@pytest.mark.parametrize(
    ("document", "line"),
    [pytest.param(path, line, id=f"{path.name}: {line}") for path in DOCUMENTS for line in commands(path)],
)
def test_every_command_is_one_that_there_is(document: Path, line: str) -> None:
    name, *words = shlex.split(line)
    if name == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets)
        return
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"{document.name}: {words[0]}"
        command, words = found, words[1:]
    with command.make_context("pepr-edge", words):
        pass


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_says_for_whom_it_is_and_how_it_is_run(path: Path) -> None:
    head = "".join(
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#")
    )
    assert all(word in head for word in ("For whom:", "Device:", "Run time:", "Command:"))
    assert read(path, Recipe).name == path.stem


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
def test_what_the_readme_does_with_a_finished_run_works(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "quickstart")
    tiny_bundle.image(tmp_path / "image.png")
    for label in ("benign", "malignant"):
        (tmp_path / "our_images" / label).mkdir(parents=True)
        for number in range(5):
            tiny_bundle.image(tmp_path / "our_images" / label / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    documents = (ROOT / "README.md", ROOT / "docs" / "tour.md")
    # Some lines are in both.
    lines = list(dict.fromkeys(line for path in documents for line in commands(path)))
    lines = [
        line
        for line in lines
        if line.startswith("pepr-edge") and line.split()[1] not in ("run", "compare", "init", "data")
    ]  # which take images, or two runs
    assert {line.split()[1] for line in lines} >= {
        "recipes",
        "export",
        "kit",
        "verify",
        "bench",
        "predict",
        "rank",
        "score",
    }
    for line in lines:
        if line.split()[1] == "kit":
            status, err = in_a_shell(line)  # as a process of its own: it gets real packages from the index
        else:
            status, _, err = command_line.run(capsys, monkeypatch, *command_line.words_of(line)[1:])
        assert status == 0, f"{line}\n{err}"


def in_a_shell(line: str) -> tuple[int, str]:
    """Run a line in a shell with this environment's program; return the exit status and the messages."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(line, shell=True, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr
