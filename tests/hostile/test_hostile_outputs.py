"""Places that are no place to write to, for every command that writes: one line, and nothing changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_bundle
from hostile_check import Row, Run, Spoil, check, in_place, meet
from PIL import Image
from small_run import RECIPE

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes, and a file system with one root")
TABLE = "model,energy_kwh,val_00,val_01\na,1,0.5,0.9\nb,2,0.5,0.8\nc,3,0.6,0.7\n"
BUNDLE = "01-tiny@16-fp32"
# What each command needs before the place that it is to write to.
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "recipe.toml", "--data", "images", "--out"),
    "export": ("export", "run", "--out"),
    "kit": ("kit", "run", "--platform", "linux-x86_64", "--out"),
    "compare": ("compare", "one", "two", "--out"),
    "dossier": ("dossier", BUNDLE, "--out"),
    "bench": ("bench", "--quick", "--no-extras", BUNDLE, "--out"),
    "evaluate": ("evaluate", BUNDLE, "site", "--out"),
    "kit of the web": ("kit", "run", "--platform", "web", "--web-runtime", "table.csv", "--out"),
    "score": ("score", "table.csv", "--performance", "val_01", "--resource", "E=energy_kwh", "--out"),
    "search replay": ("search", "replay", "table.csv", "--out"),
    "init": ("init", "images", "--no-time", "--out"),
    "recipes copy": ("recipes", "copy", "quickstart", "--out"),
    "recipes schema": ("recipes", "schema", "--out"),
    "zoo check": ("zoo", "check", "--only", "resnet14t", "--out"),
    "zoo check --markdown": ("zoo", "check", "--only", "resnet14t", "--out", "rows", "--markdown"),
    "weights fetch": ("weights", "fetch", "recipe.toml", "--out"),
    "weights import": ("weights", "import", "good.png", "--architecture", "resnet18", "--out"),
    "keys make": ("keys", "make"),
    "report": ("report",),
}
# The place as it is written, and what is put there first.
PLACES: dict[str, tuple[str, Spoil]] = {
    "the root": ("/", lambda path: None),
    "the root, thrice": ("///", lambda path: None),
    "the root by a way up": ("/tmp/..", lambda path: None),
    "a link to the root": ("place", in_place(lambda path: path.symlink_to("/"))),
    "nothing": ("", lambda path: None),
    "a path through a file": ("good.png/x", lambda path: None),
    "a link to itself": ("place", in_place(lambda path: path.symlink_to(path.name))),
    "a pipe": ("place", in_place(lambda path: os.mkfifo(path))),
    "a device": ("/dev/null", lambda path: None),
    "a full device": ("/dev/full", lambda path: None),
    "a path of 5,000 letters": ("n/" * 2500, lambda path: None),
    "a name of 300 letters": ("n" * 300, lambda path: None),
    "a name with an escape sequence": ("\x1b[2J", lambda path: None),
}
# Where the current folder, which holds files of others, or one with images is no place either.
CLOSED = (
    "run",
    "bench",
    "evaluate",
    "score",
    "init",
    "recipes schema",
    "zoo check",
    "weights import",
    "keys make",
)
FOLDERS = {"the current folder": ".", "the same": "./", "the folder above": "..", "images": "images"}


def rows() -> dict[str, Row]:
    made: dict[str, Row] = {}
    for command, words in COMMANDS.items():
        for name, (place, spoil) in PLACES.items():
            made[f"{command}: {name}"] = Row((*words, place), (1, 2), "", place or ".", spoil)
        for name, place in FOLDERS.items() if command in CLOSED else ():
            made[f"{command}: {name}"] = Row((*words, place), (1, 2))
    return made


ROWS = rows()


@pytest.fixture(scope="module")
def prepared(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has what the commands need to come as far as their output. No row changes it."""
    above = tmp_path_factory.mktemp("outputs")
    (above / "above.txt").write_text("mine")
    folder = Path(shutil.copytree(home, above / "here"))
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "table.csv").write_text(TABLE)
    labels = ("images/a", "images/b", *(f"site/{label}" for label in tiny_bundle.LABELS))
    for label in labels:
        (folder / label).mkdir(parents=True)
        for number in range(12):
            Image.effect_noise((16, 16), 50).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def here(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory."""
    monkeypatch.chdir(prepared)
    yield prepared
    (prepared / "place").unlink(missing_ok=True)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("name", ROWS)
def test_a_place_that_is_none(name: str, here: Path, run: Run) -> None:
    row = ROWS[name]
    row.spoil(here / row.target)
    before = contents(here.parent)
    root = sorted(Path("/").iterdir())
    done = meet(row._replace(spoil=lambda path: None), here, run)
    check(done, row.status)
    assert done.err.splitlines()[-1].lower().startswith("error: ")
    assert contents(here.parent) == before
    assert sorted(Path("/").iterdir()) == root
