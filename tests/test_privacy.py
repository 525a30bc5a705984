"""No output names a person, a machine or a place: names planted in all inputs are searched in all outputs."""

from __future__ import annotations

import base64
import csv
import io
import json
import platform
import re
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

import made_dicom
import numpy as np
import pytest
import small_run
import tiny_bundle
from PIL import Image, PngImagePlugin

from pepr_edge.cli import entry
from pepr_edge.kit import make as kit

# In every planted text, whatever its case; no word of ours, and none of base64 by chance.
MARK = "zqxvkj"
ROOT = Path(__file__).resolve().parents[1]
# Files that stay at home: the recipe as given, which may name the place of the data, the log of a candidate's
# process, the list of unreadable images, which the recipe asked for, and what looks wrong with the images.
AT_HOME = ("recipe.toml", "log.txt", "skipped_images.csv", "data_check.json")
IMAGES = 84


class Made(NamedTuple):
    """The finished run, the folder of all that was made from it, and what the commands printed."""

    run: Path
    out: Path
    said: str


def images(folder: Path) -> Path:
    """A manifest whose rows, groups and files all name patients, as PNG, JPEG and DICOM with texts inside."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = f"{MARK} exif description", f"{MARK} exif artist"
    text = PngImagePlugin.PngInfo()
    text.add_text("PatientName", f"{MARK}^png")
    with open(folder / "chest.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "group", "patient_name"])
        for number in range(IMAGES):
            pixels = rng.integers(0, 120, (48, 48), dtype=np.uint8)
            pixels[8:24, 8:24] += np.uint8(120 * (number % 2))
            name = f"{MARK}_{number:03d}.{('png', 'jpg', 'dcm')[number % 3]}"
            if name.endswith("dcm"):
                made_dicom.write(folder / name, pixels.astype(np.uint16), **tags())
            else:
                more = {"pnginfo": text} if name.endswith("png") else {"exif": exif}
                Image.fromarray(pixels).save(folder / name, **more)
            rows.writerow(
                [
                    name,
                    ("normal", "pneumonia")[number % 2],
                    f"{MARK} patient {number // 2}",
                    f"{MARK}^{number}",
                ]
            )
        for kind, whole in (("png", 0), ("dcm", 2)):
            rows.writerow([f"{MARK}_torn.{kind}", "normal", f"{MARK} patient torn", f"{MARK}^torn"])
            (folder / f"{MARK}_torn.{kind}").write_bytes(
                (folder / f"{MARK}_{whole:03d}.{kind}").read_bytes()[:-3000]
            )
    return folder / "chest.csv"


def tags() -> dict[str, Any]:
    """What a scanner writes beside the pixels, on the first level and below."""
    names = (
        "PatientName",
        "PatientID",
        "InstitutionName",
        "ReferringPhysicianName",
        "StudyDescription",
        "StationName",
    )
    inner = made_dicom.items(PatientID=f"{MARK} inner")
    return {
        **{name: f"{MARK} {name[:7]}" for name in names},
        "RequestAttributesSequence": inner,
        "ImageComments": f"{MARK} comment",
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A run with all that can be made of it, in a home, by a user and on a host of planted names."""
    home = tmp_path_factory.mktemp(f"{MARK}-home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(home))
        for name in ("USER", "LOGNAME", "USERNAME", "HOSTNAME", "COMPUTERNAME"):
            patch.setenv(name, f"{MARK}-{name.lower()}")
        patch.setattr(platform, "node", lambda: f"{MARK}-node")
        data = images(home / "data")
        # Of the int8 files nothing is written that is not written of float32.
        recipe = (
            small_run.RECIPE.replace(
                'source = "phantom"\nphantom_images = 80',
                f'source = "{data.as_posix()}"\non_bad_image = "skip"',
            )
            .replace("epochs = 2", "epochs = 1")
            .replace("[export]", '[export]\nvariants = ["fp32"]')
        )
        run = home / "runs" / "small"
        small_run.carry_out(run, patch, recipe, figures=True)
        patch.setattr(kit.own_wheel, "make", lambda folder: wheel(folder / "pepr_edge-1-py3-none-any.whl"))
        patch.setattr(
            kit.wheels,
            "fetch",
            lambda own, name, python, folder, said: wheel(folder / "pip-1-py3-none-any.whl"),
        )
        patch.setattr(kit.wheels, "check_pip", lambda: None)
        kit.make(
            run, home / "kit", platform="linux-x86_64", pythons=("3.11",), top=1, progress=lambda *words: None
        )
        said = "\n".join(commands(home, run, patch))
        yield Made(run, home, said)


def wheel(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def commands(home: Path, run: Path, patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return what the commands print that make something for others, called with relative paths."""
    tiny_bundle.fake_profile(patch)
    patch.chdir(home)
    bundles = sorted((run / "bundles").iterdir())
    report = home / "report.json"
    for words in (
        ("export", run, "--out", home / "out"),
        ("report", run),
        ("bench", bundles[0], "--quick", "--no-extras", "--out", report, "--json"),
        ("evaluate", bundles[0], home / "data" / "chest.csv", "--out", home / "site.json", "--json"),
        ("rank", run, "--field", "report.json", "site.json", "--json"),
    ):
        yield from printed(patch, *words)


def printed(patch: pytest.MonkeyPatch, *words: object) -> Iterator[str]:
    """A command's stdout where that is JSON; what others print is for the person at this machine."""
    out = io.StringIO()
    with redirect_stdout(out):
        status = ended(patch, *words)
    torn = words[0] == "evaluate"  # two of its images
    assert status in ((1,) if torn else (0, 3)), (words, status)
    if "--json" in words:
        json.loads(out.getvalue())
        yield out.getvalue()


def ended(patch: pytest.MonkeyPatch, *words: object) -> int:
    patch.setattr("sys.argv", ["pepr-edge", *map(str, words)])
    try:
        entry()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def parts(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes and what is packed in it: archive members, pictures, streams."""
    content = path.read_bytes()
    yield content
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield "\n".join(archive.namelist()).encode()
            yield from (archive.read(name) for name in archive.namelist())
    for packed in re.findall(rb"base64,([A-Za-z0-9+/=\s]+)", content):
        inner = base64.b64decode(packed)
        yield inner
        with suppress(OSError), Image.open(io.BytesIO(inner)) as picture:
            yield repr(picture.info).encode()  # its texts, unpacked


def told(content: bytes, forbidden: list[bytes]) -> bytes | None:
    """Return the first planted text in some bytes with its surroundings, in UTF-8, UTF-16 or UTF-32."""
    lower = content.lower()
    for secret in forbidden:
        for spelled in (secret, secret.decode().encode("utf-16-le"), secret.decode().encode("utf-32-le")):
            if (at := lower.find(spelled.lower())) >= 0:
                return content[max(0, at - 80) : at + 80]
    return None


def secrets(made: Made) -> list[bytes]:
    """The mark, the paths of this checkout and of what it runs on, and the host's real name."""
    found = [MARK, str(ROOT), str(Path("~").expanduser()), str(made.out), platform.uname().node]
    return [text.encode() for text in found if len(text) >= len(MARK)]


def outputs(made: Made) -> list[Path]:
    files = [path for path in made.out.rglob("*") if path.is_file() and path.name not in AT_HOME]
    images = made.out / "data"
    return [path for path in files if images not in path.parents]


@pytest.mark.slow
def test_no_output_names_a_person_a_machine_or_a_place(made: Made) -> None:
    files = outputs(made)
    names = {path.name for path in files}
    assert {
        "run.json",
        "events.jsonl",
        "ranking.json",
        "ranking.csv",
        "report.html",
        "manifest.json",
        "model.onnx",
    } <= names
    assert {
        "MODEL_CARD.md",
        "checkpoint.safetensors",
        "train.json",
        "failure.json",
        "report.json",
        "site.json",
        "kit.json",
        "selftest.npz",
    } <= names
    forbidden = secrets(made)
    found = [
        (path.relative_to(made.out).as_posix(), what)
        for path in files
        for part in parts(path)
        if (what := told(part, forbidden))
    ]
    assert found == []
    assert told(made.said.encode(), forbidden) is None
    assert [path.name for path in files if MARK in path.name] == []
    assert (
        len((made.run / "skipped_images.csv").read_text(encoding="utf-8").splitlines()) == 1 + 2
    )  # the torn ones: all others were read
    # What stays at home is there, and would be found if it left.
    for name in ("recipe.toml", "skipped_images.csv"):
        assert told((made.run / name).read_bytes(), forbidden), name


def test_what_is_planted_would_be_found(tmp_path: Path) -> None:
    forbidden = [MARK.encode()]
    pixels, text = Image.new("L", (4, 4)), PngImagePlugin.PngInfo()
    text.add_text("a", MARK * 50, zip=True)
    pixels.save(tmp_path / "a.png", pnginfo=text)
    page = b"<img src='data:image/png;base64," + base64.b64encode((tmp_path / "a.png").read_bytes()) + b"'>"
    (tmp_path / "page.html").write_bytes(page)
    np.savez_compressed(
        tmp_path / "a.npz", text=np.array([f"{MARK} in UTF-32"]), bytes=np.frombuffer(MARK.encode(), np.uint8)
    )
    for name in ("page.html", "a.npz"):
        assert any(told(part, forbidden) for part in parts(tmp_path / name)), name
