"""Every parser of untrusted input, with valid inputs. Only errors of our own classes may be raised.

A parser that returns a text has refused the input.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import fuzz_data_targets
import fuzz_evaluate_targets
import fuzz_record_targets
import fuzz_signing_targets
import numpy as np
import referring_bundle
import tiny_bundle
from PIL import Image

from pepr_edge.bundle import read as bundle_read
from pepr_edge.data import manifest, medmnist
from pepr_edge.data.source import DataSettings
from pepr_edge.errors import PeprError, RecipeError
from pepr_edge.field import report_checksum, verify
from pepr_edge.images.preprocess import decode, to_pixels
from pepr_edge.kit import install
from pepr_edge.measure import selftest
from pepr_edge.measure.bundle_model import BundleModel, Limits
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.ranking import reports
from pepr_edge.recipe import Recipe, recipes_dir, variants_dir
from pepr_edge.recipe.toml import read as read_toml
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import BenchResult, FieldReport, Manifest, Percentiles, RunInfo, Validity
from pepr_edge.run_dir.store import read_record, sha256_file
from pepr_edge.scoring.bounds import read_reference
from pepr_edge.search.published import read_runs
from pepr_edge.signing.key_files import read_public
from pepr_edge.tables import ScoreTask, open_table, score_table
from pepr_edge.untrusted import onnx_check

CORPUS = Path(__file__).with_name("corpus")


class Target(NamedTuple):
    """`suffix` is that of the input file, `seeds` returns valid inputs, `feed` parses the file."""

    suffix: str
    seeds: Callable[[], list[bytes]]
    feed: Callable[[Path], object]


class Outcome(NamedTuple):
    """True if an input was refused, and the error that must not be: of another class, or not on one line."""

    refused: bool
    error: Exception | None = None


def parse(target: Target, content: bytes, folder: Path) -> Outcome:
    """Give one input to the parser."""
    path = folder / f"input{target.suffix}"
    path.write_bytes(content)
    try:
        result = target.feed(path)
    except RecipeError:
        return Outcome(True)
    except (PeprError, install.NotInstalled) as error:
        if "\n" in str(error):
            return Outcome(True, AssertionError(f"an error of several lines: {error!r:.300}"))
        return Outcome(True)
    except Exception as error:
        return Outcome(False, error)
    return Outcome(isinstance(result, str))


def toml(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.toml"))]


@cache
def home(name: str) -> Path:
    """Return a bundle of this session."""
    import atexit
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    atexit.register(folder.cleanup)
    return tiny_bundle.write(Path(folder.name) / name, fallback=True)


@cache
def document() -> Manifest:
    return bundle_read.read_manifest(home("selftest"))


def field_reports() -> list[bytes]:
    profile = document().profile
    result = BenchResult(
        bundle="01-tiny@16-fp32",
        artifact_sha256=profile.artifact_sha256,
        runtime="onnxruntime",
        provider_used="CPUExecutionProvider",
        threads=1,
        scenario="single_stream",
        rules="quick",
        validity=Validity(valid=True),
        latencies_s=(0.001,) * 70,
        percentiles_s=Percentiles(p50=0.001, p90=0.001, p95=None, p99=None),
        import_s=0.1,
        load_s=0.1,
        first_s=0.1,
        peak_memory_bytes=1 << 26,
        memory_stages_bytes={"import": 1 << 25},
        cpu_s_per_inference=0.001,
        energy_j_per_inference=None,
        selftest=None,
    )
    report = FieldReport(emulated=False, partial=False, device=profile.device, results=(result,))
    return [report_checksum.with_checksum(report).model_dump_json(indent=1).encode()]


def feed_report(path: Path) -> None:
    report = reports._read(path)
    if not isinstance(report, FieldReport):  # an edit made it another kind
        return
    reports._fault(report, {result.artifact_sha256 for result in report.results[:1]}, path.parent)


@cache
def referring(name: str) -> Path:
    """Return a bundle that refers images; its self-test holds what one that does not needs, too."""
    return referring_bundle.write(home("refers").parent / name, fallback=True)


def manifests() -> list[bytes]:
    """Return the manifests of a bundle, and of one that refers images."""
    return [(bundle / bundle_read.MANIFEST).read_bytes() for bundle in (home("seed"), referring("seed"))]


def feed_manifest(path: Path) -> None:
    bundle = referring("fed")
    (bundle / bundle_read.MANIFEST).write_bytes(path.read_bytes())
    read = bundle_read.read_manifest(bundle)
    verify.check_files(bundle, read)
    selftest._read(bundle / selftest.FILE, read, read.selftest.n, fallback=False)


def feed_bundle(path: Path) -> None:
    """Put an untrusted model into a bundle with correct checksums."""
    bundle = home("bundle")
    (bundle / "model.onnx").write_bytes(path.read_bytes())
    made = document().model_dump(mode="json")
    made["files"]["model.onnx"] = made["profile"]["artifact_sha256"] = sha256_file(bundle / "model.onnx")
    made["files"] = {name: sha256_file(bundle / name) for name in made["files"]}
    (bundle / bundle_read.MANIFEST).write_text(json.dumps(made))
    verify.read_whole(bundle)


@cache
def runner() -> InferenceProcess:
    """Return the process that runs the models of this session."""
    import atexit

    process = InferenceProcess()
    atexit.register(process.close)
    return process


def feed_model(path: Path) -> None:
    """Run an untrusted model on an image, with a limit of a second."""
    feed_bundle(path)
    manifest = document()
    shape = (1, 1, tiny_bundle.PX, tiny_bundle.PX)
    model = BundleModel(path, manifest.profile.settings, shape, 2, Limits(1.0, 1.0, 256 << 20))
    runner().open(model)
    logits = runner().logits(np.zeros(shape, np.float32))
    assert np.isfinite(logits).all()
    assert logits.shape == (1, 2)


def feed_selftest(path: Path) -> None:
    selftest._read(path, document(), document().selftest.n, fallback=False)


def npz(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def medmnist_files() -> list[bytes]:
    grey = np.zeros((4, 8, 8), np.uint8)
    colour = np.zeros((4, 8, 8, 3), np.uint8)
    labels = np.array([[0], [1], [0], [1]], np.uint8)
    return [
        npz(train_images=images, train_labels=labels, val_images=images, val_labels=labels)
        for images in (grey, colour)
    ]


def feed_medmnist(path: Path) -> None:
    source = medmnist.open_source(DataSettings(source=str(path), image_size_px=16))
    for image in source.read(np.arange(min(20, len(source.targets)))):
        assert isinstance(image, Image.Image)


TABLE = b"model,set,accuracy,energy_kwh,time_s,val_00,val_01\n" + b"".join(
    b"m%d,%s,0.%d,%d.5,1e%d,0.%d,0.%d\n" % (n, b"ab"[n % 2 : n % 2 + 1], 5 + n, n + 1, n, n + 1, n + 2)
    for n in range(4)
)
TABLES = [
    TABLE,
    TABLE.replace(b",", b";"),
    b"\xef\xbb\xbf" + TABLE.replace(b"\n", b"\r\n"),
    TABLE.replace(b"m1", b'"m,\n1"'),
]


def feed_table(path: Path) -> None:
    table = open_table(path)
    resources = {"energy": table.position("energy_kwh"), "time": table.position("time_s")}
    task = ScoreTask(
        table=table,
        performance=table.position("accuracy"),
        resources=resources,
        weights=dict.fromkeys(resources, 1.0),
        group=table.position("set"),
        name=table.position("model"),
        out=path.with_name("out.csv"),
    )
    score_table(task)


def images() -> list[bytes]:
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (9, 7), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (9, 7), dtype=np.uint16))
    colour = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = colour.convert("P")
    formats: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (grey, "PNG", {}),
        (deep, "PNG", {}),
        (palette, "PNG", {"transparency": 3}),
        (colour, "JPEG", {"exif": exif}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (deep, "TIFF", {}),
        (colour, "BMP", {}),
        (palette, "GIF", {"save_all": True, "append_images": [palette]}),
        (colour, "WEBP", {}),
        (grey, "PPM", {}),
        (colour, "JPEG2000", {}),
    ]
    files = []
    for image, kind, options in formats:
        out = io.BytesIO()
        image.save(out, kind, **options)
        files.append(out.getvalue())
    return files


def feed_image(path: Path) -> None:
    to_pixels(decode(path), channels=1, image_size_px=16, interpolation="bilinear")


def dicoms() -> list[bytes]:
    """Return grey images of 8 and 16 bits with a window, and a colour image; none without pydicom."""
    try:
        import pydicom
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage
    except ImportError:
        return []
    made = []
    for bits, samples, syntax in (
        (8, 1, ExplicitVRLittleEndian),
        (16, 1, ImplicitVRLittleEndian),
        (8, 3, ExplicitVRLittleEndian),
    ):
        dataset = pydicom.Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.Rows = dataset.Columns = 8
        dataset.SamplesPerPixel = samples
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        dataset.PixelRepresentation = 0
        dataset.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME1"
        if samples == 3:
            dataset.PlanarConfiguration = 0
        else:
            dataset.WindowCenter = 40
            dataset.WindowWidth = 400
            dataset.RescaleSlope = 1
            dataset.RescaleIntercept = -10
        dataset.PixelData = bytes(range(64)) * (bits // 8) * samples
        out = io.BytesIO()
        pydicom.dcmwrite(out, dataset, enforce_file_format=True)
        made.append(out.getvalue())
    return made


def run_info() -> list[bytes]:
    candidate = {"architecture": "a", "image_size_px": 16, "in_channels": 1, "num_classes": 2}
    data = {
        "name": "phantom",
        "format": "phantom",
        "sha256": "0" * 64,
        "labels": ["a", "b"],
        "channels": 1,
        "majority_baseline": 0.5,
        "splits": {"train": {"images": 2, "class_counts": [1, 1]}},
    }
    info = {
        "key": "k",
        "recipe": "small",
        "status": "finished",
        "candidates": [candidate],
        "data": data,
        "pepr_edge": "0.1.0",
    }
    return [json.dumps(info).encode()]


@cache
def kit() -> Path:
    folder = home("kit").parent
    (folder / "wheels").mkdir()
    (folder / "wheels" / "a.whl").write_bytes(b"a")
    (folder / install.CHECKSUMS).write_bytes(kit_list(folder))
    return folder


def kit_list(folder: Path) -> bytes:
    return f"{sha256_file(folder / 'wheels' / 'a.whl')}  wheels/a.whl\n".encode()


def feed_kit(path: Path) -> None:
    """Parse kit.json if the input is an object, else checksums.txt."""
    content = path.read_bytes()
    is_facts = content.startswith(b"{")
    (kit() / (install.KIT if is_facts else install.CHECKSUMS)).write_bytes(content)
    try:
        if is_facts:
            install.read_kit(kit())
        else:
            install.check_files(kit())
    except (OSError, ValueError) as error:  # `main` reports these in one line
        raise install.NotInstalled from error


def of_training(name: str) -> Callable[..., Any]:
    """Return a function of fuzz_training_targets, which imports PyTorch, when it is called."""

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module("fuzz_training_targets"), name)(*arguments)

    return call


FACTS = {
    "pepr_edge": "0.1.0",
    "platform": "linux",
    "pythons": ["3.11"],
    "system": "Linux",
    "machines": ["x86_64"],
    "floor": "2.28",
}
BOUNDS = [
    b'{"energy": {"lo": 0, "hi": 1}, "time": [0, 2.5]}',
    b'{"bounds": {"energy": {"lo": 0, "hi": 1, "unit": "J"}}}',
    b'{"groups": [{"group": "a", "bounds": {"energy": {"lo": 0, "hi": 1, "unit": "J", "method": ""}}}]}',
]
ROWS = [
    b"path,label,split,group\na.png,x,train,p1\nb/c.png,y,test,p2\n",
    b'path;label\n"a.png";x\n',
    b"\xef\xbb\xbflabel,path\n1,a.png\n",
]

TARGETS: dict[str, Target] = {
    "recipe": Target(".toml", lambda: toml(recipes_dir()), lambda path: read_toml(path, Recipe)),
    "variant": Target(".toml", lambda: toml(variants_dir()), lambda path: read_toml(path, Variant)),
    "data_csv": Target(".csv", lambda: ROWS, manifest.parse),
    "field_report": Target(".json", field_reports, feed_report),
    "evaluation_report": Target(
        ".json", fuzz_evaluate_targets.evaluations, fuzz_evaluate_targets.feed_report
    ),
    "site_table": Target(".csv", lambda: fuzz_evaluate_targets.TABLES, fuzz_evaluate_targets.feed_table),
    "manifest": Target(".json", manifests, feed_manifest),
    "onnx": Target(".onnx", lambda: [(home("seed") / "model.onnx").read_bytes()], onnx_check.fault),
    "bundle": Target(".onnx", lambda: [(home("seed") / "model.onnx").read_bytes()], feed_bundle),
    "model_run": Target(".onnx", lambda: [(home("seed") / "model.onnx").read_bytes()], feed_model),
    "selftest": Target(".npz", lambda: [(home("seed") / selftest.FILE).read_bytes()], feed_selftest),
    "medmnist": Target(".npz", medmnist_files, feed_medmnist),
    "score_csv": Target(".csv", lambda: TABLES, feed_table),
    "search_csv": Target(
        ".csv", lambda: TABLES, lambda path: read_runs(path, None, "energy_kwh", "set", None)
    ),
    "reference": Target(".json", lambda: BOUNDS, lambda path: read_reference(path).bounds_of(None)),
    "run_record": Target(".json", run_info, lambda path: read_record(path, RunInfo)),
    "kit": Target(".json", lambda: [json.dumps(FACTS).encode(), kit_list(kit())], feed_kit),
    "signature": Target(".sig", fuzz_signing_targets.signature, fuzz_signing_targets.feed_signature),
    "public_keys": Target(".pub", fuzz_signing_targets.public_keys, read_public),
    "private_key": Target("", fuzz_signing_targets.private_key, fuzz_signing_targets.feed_private_key),
    "image": Target(".img", images, feed_image),
    "dicom": Target(".dcm", dicoms, feed_image),
    "data_names": Target(".txt", lambda: fuzz_data_targets.NAMES, fuzz_data_targets.feed_names),
    "data_table": Target(".csv", fuzz_data_targets.named_tables, fuzz_data_targets.feed_table),
    "data_check": Target(".json", fuzz_data_targets.checks, fuzz_data_targets.feed_check),
    "deep_image": Target(".tif", fuzz_data_targets.deep_images, fuzz_data_targets.feed_deep),
    "deep_dicom": Target(".dcm", fuzz_data_targets.deep_dicoms, fuzz_data_targets.feed_deep),
    "weights": Target(".pth", of_training("weights_files"), of_training("feed_weights")),
    "tensor_data": Target(".pt", of_training("tensor_files"), of_training("feed_tensors")),
    "label_matrix": Target(".npz", of_training("matrices"), of_training("feed_matrix")),
    "finding_table": Target(".csv", of_training("finding_tables"), of_training("feed_findings")),
    "published_csv": Target(".csv", of_training("published_tables"), of_training("feed_published")),
    "dossier": Target(".json", fuzz_record_targets.manifests, fuzz_record_targets.feed_dossier),
    "kit_checksums": Target(".txt", fuzz_record_targets.checksums, fuzz_record_targets.feed_checksums),
}
