"""The page in Debian's browsers, from a file and from `serve`: it sends nothing, and says what is right."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle
from node_tools import BROWSERS, executable, run_script, runtime_files
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.bundle.read import read_manifest
from pepr_edge.field.report_checksum import is_intact
from pepr_edge.images.preprocess import load_tensor
from pepr_edge.kit import serve, web_page, web_runtime
from pepr_edge.kit.check import PAGE
from pepr_edge.kit.install import KIT
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import (
    Decision,
    EvaluationReport,
    FieldReport,
    Manifest,
    SessionSettings,
    parse_record,
)
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Rule, calibrated, decide_by, single_label

HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>')
TIMEOUT_S = 420
MAX_PAGE_BYTES = 8_000_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runtime() -> dict[str, web_runtime.ProviderFiles]:
    return runtime_files("wasm")


@pytest.fixture(scope="module")
def kit(runtime: dict[str, web_runtime.ProviderFiles], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit of one bundle with a fallback, whose labels would end a block of the page."""
    folder = tmp_path_factory.mktemp("kit")
    bundle = tiny_bundle.write(folder / "bundles" / "01-tiny@16-int8_static", fallback=True, channels=3)

    def with_hostile_labels(manifest: Manifest) -> Manifest:
        return manifest.model_copy(update={"labels": HOSTILE})

    tiny_bundle.rewrite_manifest(bundle, with_hostile_labels)
    (folder / PAGE).write_text(web_page.page([bundle], runtime, "2026-01-01"), encoding="utf-8")
    (folder / KIT).write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A PNG, a JPEG with an orientation, one cut off, one that claims to be huge, and a text."""
    folder = tmp_path_factory.mktemp("images")
    png = tiny_bundle.image(folder / "one.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8)
    Image.fromarray(smooth).convert("RGB").save(folder / "two.jpg", quality=95, exif=exif)
    (folder / "cut.png").write_bytes(png.read_bytes()[:200])
    from made_pictures import png_of

    header = (60_000).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    (folder / "huge.png").write_bytes(png_of((b"IHDR", header), (b"IDAT", b"x"), (b"IEND", b"")))
    (folder / "text.png").write_text("<script>alert(1)</script>")
    return [str(folder / name) for name in ("one.png", "two.jpg", "cut.png", "huge.png", "text.png")]


def driven(browser: str, url: str, **job: Any) -> dict[str, Any]:
    """Drive the page in a browser, and return what was found."""
    found = run_script(
        "drive.mjs",
        {"browser": browser, "executable": executable(browser), "url": url, **job},
        timeout_s=TIMEOUT_S,
    )
    assert isinstance(found, dict)
    return found


@pytest.fixture
def address(kit: Path) -> Iterator[str]:
    """The address of the kit, served on this machine."""
    server = serve.make_server(kit, 0, lan=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def native(kit: Path, images: list[str], *, fallback: bool) -> list[tuple[str, float]]:
    """Return label and probability of each image, computed without a browser."""
    bundle = kit / "bundles" / "01-tiny@16-int8_static"
    manifest = read_manifest(bundle)
    name = "fallback.onnx" if fallback else "model.onnx"
    session = RUNTIMES["onnxruntime"].open(bundle / name, SessionSettings())
    answers = []
    for image in images:
        logits = RUNTIMES["onnxruntime"].run(session, load_tensor([image], manifest.preprocess))
        best = int(logits[0].argmax())
        answers.append((manifest.labels[best], float(single_label.probabilities(logits)[0, best])))
    return answers


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A table and twelve images, with the hostile labels in turn."""
    folder = tmp_path_factory.mktemp("labelled")
    files = [tiny_bundle.image(folder / f"{number}.png", seed=number) for number in range(12)]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows((path.name, HOSTILE[number % 2]) for number, path in enumerate(files))
    return [str(folder / "table.csv"), *map(str, files)]


def check_evaluation(text: str, kit: Path, labelled: list[str]) -> None:
    report = parse_record(text.encode(), EvaluationReport)
    assert is_intact(report)
    (result,) = report.results
    answers = native(kit, labelled[1:], fallback=False)
    right = [label == HOSTILE[number % 2] for number, (label, _) in enumerate(answers)]
    accuracy = result.metrics["accuracy"]
    assert accuracy is not None
    assert (result.n, accuracy.value) == (12, pytest.approx(sum(right) / 12))
    assert (result.labels, result.task) == (HOSTILE, "binary")


def check_found(found: dict[str, Any], kit: Path, images: list[str], url: str) -> None:
    assert found["faults"] == []
    assert set(found["requests"]) <= {url, "data:,"}
    assert found["check"].startswith("2 of 2")
    for fallback, answers in zip((False, True), found["predictions"], strict=True):
        assert len(answers) == len(images)
        for lines, (label, share) in zip(answers, native(kit, images[:2], fallback=fallback), strict=False):
            assert lines[1] == label
            percent = float(lines[2].rpartition(f"{label}: ")[2].split("\u00a0%")[0].lstrip("<> "))
            assert percent == pytest.approx(share * 100, abs=0.6)
        refused = {lines[0]: lines[2] for lines in answers[2:] if lines[1] == "No answer"}
        assert "cut off" in refused["cut.png"]
        assert "60000 x 60000" in refused["huge.png"]
        assert "not a PNG" in refused["text.png"]


@pytest.mark.parametrize("browser", list(BROWSERS))
def test_from_a_file(browser: str, kit: Path, images: list[str], labelled: list[str]) -> None:
    url = (kit / PAGE).as_uri()
    found = driven(browser, url, files=images, measure=True, evaluate=[{"model": 0, "files": labelled}])
    check_found(found, kit, images, url)
    check_evaluation(found["evaluation"], kit, labelled)
    serious = [one for one in found["axe"] if one["impact"] in ("serious", "critical")]
    assert serious == []
    assert max(found["overflows"]) <= 0  # below 0 by the width of a scroll bar
    report = parse_record(found["report"].encode(), FieldReport)
    assert is_intact(report)
    assert [result.runtime for result in report.results] == ["onnxruntime-web"] * 2
    assert all(result.selftest is not None and result.selftest.passed for result in report.results)


def test_two_hundred_images_have_the_label_of_predict(
    runtime: dict[str, web_runtime.ProviderFiles], real_data: Path, tmp_path: Path
) -> None:
    """Real images of two sets; the threshold divides them into halves."""
    images = []
    for name in ("breastmnist", "pneumoniamnist"):
        for number, pixels in enumerate(np.load(real_data / f"{name}.npz")["test_images"][:100]):
            images.append(tmp_path / f"{name}-{number}.png")
            Image.fromarray(pixels).save(images[-1])
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-fp32")
    manifest = read_manifest(bundle)
    logits = logits_of(bundle, images, manifest)
    shares = np.sort(calibrated(logits, Rule())[:, 1])
    threshold = float((shares[99] + shares[100]) / 2)
    decision = Decision(kind="threshold", positive="pneumonia", threshold=threshold)
    tiny_bundle.rewrite_manifest(bundle, lambda made: made.replace(decision=decision))
    page = tmp_path / PAGE
    page.write_text(web_page.page([bundle], runtime, "2026-01-01"), encoding="utf-8")
    (answers,) = driven("chromium", page.as_uri(), files=[str(path) for path in images])["predictions"]
    decided = decide_by(logits, rule_of(decision, manifest.labels))
    assert np.bincount(decided).tolist() == [100, 100]
    assert [lines[1] for lines in answers] == [manifest.labels[number] for number in decided]


def logits_of(bundle: Path, images: list[Path], manifest: Manifest) -> NDArray[np.float32]:
    session = RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings())
    return RUNTIMES["onnxruntime"].run(session, load_tensor(images, manifest.preprocess))


@pytest.mark.parametrize("browser", list(BROWSERS))
def test_from_the_server(browser: str, kit: Path, images: list[str], address: str) -> None:
    found = driven(browser, address, files=images)
    check_found(found, kit, images, address)
    assert "threads in use" in found["browserLines"][1]


# What the Tab key reaches, in order, once the check has run.
STOPS = (
    *("Language", "Check", "Predict", "Measure", "Evaluate", "Save", "Check the models", "Self-test"),
    *("Model", "Choose images", "Photograph"),
    *("tiny@16, int8_static", "tiny@16, fp32", "quick: 128 images and 10 seconds for each model", "Measure"),
    *("Model", "Subgroups (columns of the table, with commas between; may stay empty)", "Choose a folder"),
    *("Choose a table and its images", "Save the evaluation", "Save the measurements"),
)


def test_keys_alone_reach_all_and_a_screen_reader_hears_names(kit: Path) -> None:
    found = run_script(
        "keyboard.mjs",
        {"executable": executable("chromium"), "url": (kit / PAGE).as_uri()},
        timeout_s=TIMEOUT_S,
    )
    assert [stop["label"].strip() for stop in found["stops"]] == list(STOPS)
    assert all(stop["outline"] for stop in found["stops"])
    assert found["status"].startswith("2 of 2")
    for name in (
        'heading "Models in this browser" [level=1]',
        'navigation "Sections"',
        'region "Predict"',
        'button "Choose images"',
        'group "How long"',
        'table "Self-test"',
        'combobox "Model"',
        'textbox "Subgroups',
    ):
        assert name in found["tree"], found["tree"]


def test_the_graphics_processor_by_swiftshader(tmp_path: Path) -> None:
    """For function only: SwiftShader is a graphics processor in software."""
    runtime = runtime_files("wasm", "webgpu")
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-fp32")
    page = tmp_path / PAGE
    page.write_text(web_page.page([bundle], runtime, "2026-01-01"), encoding="utf-8")
    switches = ("unsafe-webgpu", "features=Vulkan")
    args = [f"--enable-{switch}" for switch in switches]
    found = driven("chromium", page.as_uri(), args=[*args, "--use-webgpu-adapter=swiftshader"])
    if any("does not offer" in line for line in found["browserLines"]):
        pytest.skip("this Chromium offers no WebGPU")
    assert found["check"].startswith("2 of 2")
    assert "on the graphics processor" in found["checkRows"][1]


def test_a_model_without_finite_numbers_is_not_used(
    runtime: dict[str, web_runtime.ProviderFiles], tmp_path: Path
) -> None:
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-fp32")
    (bundle / "model.onnx").write_bytes(nan_model())
    tiny_bundle.rewrite_manifest(bundle, lambda manifest: manifest)
    page = tmp_path / PAGE
    page.write_text(web_page.page([bundle], runtime, "2026-01-01"), encoding="utf-8")
    found = driven("chromium", page.as_uri())
    assert "no answer" in found["checkRows"][0]
    assert found["check"].startswith("No model passes")


def nan_model() -> bytes:
    """Return the model of `tiny_bundle` with a bias that is not a number."""
    from onnx import numpy_helper

    made = tiny_bundle.model()
    for tensor in made.graph.initializer:
        if tensor.name == "gemm_bias":
            values = np.full(tuple(tensor.dims), np.nan, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, "gemm_bias"))
    return bytes(made.SerializeToString())


def test_the_page_is_small(runtime: dict[str, web_runtime.ProviderFiles]) -> None:
    page = web_page.page([], runtime, "2026-01-01")
    assert len(page.encode()) <= MAX_PAGE_BYTES
    assert json.loads(json.dumps(page[:15])) == "<!doctype html>"
