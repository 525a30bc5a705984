"""All texts of the page are in its tables: its modules and its frame hold none of their own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_bundle
from node_tools import executable, run_script, runtime_files

from pepr_edge.kit import web_page

MODULES = sorted(web_page.WEB.glob("*.mjs"))
COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`\\])//[^\n]*", re.DOTALL)
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
# Two words in a row, or one that begins as sentences and headings do.
WORDS = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}|^[A-Z][a-z]+$")
KEY = re.compile(r'\b(?:text|message|PageError|inEnglish)\(\s*"(\w+)"')

# What nobody reads on the page: names of browsers and formats, words in files, and notes of a report.
NOT_SHOWN = {
    "canonical_json.mjs": {"a report holds finite numbers alone"},
    "device.mjs": {
        *("Edge", "Opera", "Samsung Internet", "Firefox", "Chrome", "Safari", "Android", "Windows", "Linux"),
        *("unknown browser", "unknown system"),
    },
    "evaluate.mjs": {
        "Numbers of fewer than ${MIN_CELL} images are null, and groups of fewer are not named. A reader who ",
        "knows the number of images may still work out a single hidden number from the others and "
        "the metrics.",
        "The bundle stores no decision (version 0.1): the highest logit decides, and probabilities are not "
        "calibrated.",
        "Evaluated in a browser, which draws the resamples of the intervals by its own numbers.",
    },
    "formats.mjs": {"Photoshop", "JPEG XL", "<!doctype html"},
    "orientation.mjs": {"|>)([0-9])/.exec(new TextDecoder("},
    "png.mjs": {"Raw profile type exif"},
    "predict_view.mjs": {"drop soft", "label warn"},
    "subgroups.mjs": {"(no value)"},
    "targets.mjs": {"no finding", "no findings"},
    "texts.mjs": {'no text "${key}"'},
}


def literals(path: Path) -> Iterator[str]:
    code = COMMENT.sub("", path.read_text(encoding="utf-8"))
    for quoted, template in LITERAL.findall(code):
        yield quoted or template


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_holds_no_text(path: Path) -> None:
    found = {literal for literal in literals(path) if WORDS.search(literal)}
    assert found == NOT_SHOWN.get(path.name, set())


def test_the_frame_holds_no_text_but_the_name() -> None:
    frame = (web_page.WEB / web_page.FRAME).read_text(encoding="utf-8")
    shown = re.sub(r"<!doctype html>|\{\{\w+\}\}|<[^>]+>", " ", frame)
    assert set(shown.split()) == {"pepr-edge"}
    attributes = dict(re.findall(r' ([\w-]+)="([^"]*)"', frame))
    assert not {"alt", "title", "placeholder", "aria-label"} & set(attributes)


def test_each_text_that_is_asked_for_is_there_and_each_is_used() -> None:
    table = web_page.texts()[web_page.ENGLISH]
    code = "".join(path.read_text(encoding="utf-8") for path in MODULES)
    asked = set(KEY.findall(code)) | {"starting", "noScript"}
    assert asked <= set(table)
    unused = {key for key in table if f'"{key}"' not in code}
    assert {key for key in unused if not key.startswith("metric_")} <= {"starting", "noScript"}


def test_a_table_more_needs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words stand in the page for where no script runs, and in the block that the script reads."""
    english = web_page.texts()[web_page.ENGLISH]
    (tmp_path / web_page.TEXTS).mkdir()
    for code, table in (("en", english), ("sw", {**english, "noScript": "Ukurasa <huu>"})):
        file = tmp_path / web_page.TEXTS / f"{code}.json"
        file.write_text(json.dumps(table), encoding="utf-8")
    for path in web_page.WEB.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(web_page, "WEB", tmp_path)
    page = web_page.page([], {}, "2026-01-01")
    assert '<p lang="sw">Ukurasa &lt;huu&gt;</p>' in page
    block = page.partition('id="texts">')[2].partition("</script>")[0]
    assert json.loads(block)["sw"]["noScript"] == "Ukurasa <huu>"
    assert "<" not in block


LABELS = ("LABEL-A", "LABEL-B")
MARKS = ("\u27e6", "\u27e7")


def marked(pattern: str | dict[str, str]) -> str | dict[str, str]:
    """Return a text, or its plural forms, with a mark."""
    if isinstance(pattern, str):
        return pattern.join(MARKS) if pattern else pattern
    return {category: form.join(MARKS) for category, form in pattern.items()}


@pytest.fixture
def marked_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with a language whose texts are all marked."""
    runtime = runtime_files("wasm")
    web = tmp_path / "web"
    shutil.copytree(web_page.WEB, web)
    table = {key: marked(pattern) for key, pattern in web_page.texts()[web_page.ENGLISH].items()}
    (web / web_page.TEXTS / "en-XA.json").write_text(json.dumps(table), encoding="utf-8")
    monkeypatch.setattr(web_page, "WEB", web)
    bundle = tiny_bundle.write(tmp_path / "01-TINY@16-int8_static", fallback=True)
    tiny_bundle.rewrite_manifest(bundle, lambda manifest: manifest.replace(labels=LABELS))
    page = tmp_path / "page.html"
    page.write_text(web_page.page([bundle], runtime, "2026-01-01"), encoding="utf-8")
    return page


@pytest.mark.slow
def test_each_text_on_the_page_is_in_the_chosen_language(marked_page: Path, tmp_path: Path) -> None:
    images = [str(tiny_bundle.image(tmp_path / f"{number}.png", seed=number)) for number in range(12)]
    (tmp_path / "cut.png").write_bytes(Path(images[0]).read_bytes()[:100])
    rows = "".join(f"{number}.png,{LABELS[number % 2]},{'fm'[number % 2]}\n" for number in range(12))
    (tmp_path / "table.csv").write_text(f"path,label,sex\n{rows}cut.png,{LABELS[0]},\n")
    job = {
        "executable": executable("chromium"),
        "url": marked_page.as_uri(),
        "locale": "en-XA",
        "marks": MARKS,
        "images": [images[0], str(tmp_path / "cut.png")],
        "table": [str(tmp_path / "table.csv"), *images, str(tmp_path / "cut.png")],
    }
    found = run_script("languages.mjs", job, timeout_s=300)
    assert found["faults"] == []
    assert (found["lang"], found["refused"][0]) == ("en-XA", MARKS[0])
    # Languages name themselves. What is measured, and names of files, labels and groups, have no language.
    names = {web_page.texts()[code]["languageName"] for code in web_page.texts() if code != "en-XA"}
    unmarked = set(found["unmarked"]) - names - {"0.png", "cut.png", *LABELS, "f", "m"}
    assert {text for text in unmarked if not re.fullmatch(r"p\d\d|[\d.,E-]+", text)} == set()
    assert found["count"] > 300
    assert found["other"]["lang"] == "en"
    assert MARKS[0] not in found["other"]["text"].replace("English".join(MARKS), "")
    assert (found["other"]["focused"], found["other"]["stored"]) == ("language", 0)
    assert found["other"]["rows"] > 15  # results stay
