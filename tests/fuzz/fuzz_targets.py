"""Every parser of what strangers wrote: some whole inputs, and how it is fed one. Only our own errors may come out.

A feed that returns a text has refused.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
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
from pepr_edge.ranking import reports
from pepr_edge.recipe import Recipe, recipes_dir, variants_dir
from pepr_edge.recipe.toml import read as read_toml
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import BenchResult, FieldReport, Manifest, Percentiles, RunInfo, Validity
from pepr_edge.run_dir.store import read_record, sha256_file
from pepr_edge.scoring.bounds import read_reference
from pepr_edge.search.published import read_runs
from pepr_edge.tables import open_table, score_table
from pepr_edge.tables.bounds_pass import ScoreTask
from pepr_edge.untrusted import onnx_check

CORPUS = Path(__file__).with_name("corpus")


class Target(NamedTuple):
    """`suffix` of the file that it is fed; `seeds` are whole inputs; `feed` takes the file and a folder that stays the same."""

    suffix: str
    seeds: Callable[[], list[bytes]]
    feed: Callable[[Path], object]


class Outcome(NamedTuple):
    """Whether an input was refused, and the exception that is none of ours, or an error of ours that is not on one line; None: all well."""

    refused: bool
    fault: Exception | None = None


def fed(target: Target, content: bytes, folder: Path) -> Outcome:
    """Feed one input."""
    path = folder / f"input{target.suffix}"
    path.write_bytes(content)
    try:
        said = target.feed(path)
    except (PeprError, install.NotInstalled) as fault:
        several = not isinstance(fault, RecipeError) and "\n" in str(fault)
        return Outcome(
            True, AssertionError(f"an error of several lines: {fault!r:.300}") if several else None
        )
    except Exception as fault:
        return Outcome(False, fault)
    return Outcome(isinstance(said, str))


def toml(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.toml"))]


@cache
def home(name: str) -> Path:
    """A bundle of the session's own."""
    import atexit
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    atexit.register(folder.cleanup)
    return tiny_bundle.write(Path(folder.name) / name, fallback=True)


@cache
def document() -> Manifest:
    return bundle_read.read_manifest(home("selftest"))


def report() -> list[bytes]:
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
    found = FieldReport(emulated=False, partial=False, device=profile.device, results=(result,))
    return [report_checksum.sealed(found).model_dump_json(indent=1).encode()]


def feed_report(path: Path) -> None:
    found = reports._read(path)
    reports._fault(found, {found.results[0].artifact_sha256 if found.results else ""}, path.parent)


def feed_manifest(path: Path) -> None:
    bundle = home("manifest")
    (bundle / bundle_read.MANIFEST).write_bytes(path.read_bytes())
    found = bundle_read.read_manifest(bundle)
    verify.check_files(bundle, found)
    selftest._read(bundle / selftest.FILE, found, found.selftest.n, selftest.LOGITS)


def feed_bundle(path: Path) -> None:
    """A model that a stranger made, in a bundle that is whole."""
    bundle = home("bundle")
    (bundle / "model.onnx").write_bytes(path.read_bytes())
    made = document().model_dump(mode="json")
    made["files"]["model.onnx"] = made["profile"]["artifact_sha256"] = sha256_file(bundle / "model.onnx")
    made["files"] = {name: sha256_file(bundle / name) for name in made["files"]}
    (bundle / bundle_read.MANIFEST).write_text(json.dumps(made))
    verify.read_whole(bundle)


def feed_selftest(path: Path) -> None:
    selftest._read(path, document(), document().selftest.n, selftest.LOGITS)


def npz(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def medmnist_files() -> list[bytes]:
    grey, colour = np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8, 3), np.uint8)
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
    at = table.position
    resources = {"energy": at("energy_kwh"), "time": at("time_s")}
    task = ScoreTask(
        table=table, performance=at("accuracy"), resources=resources, weights=dict.fromkeys(resources, 1.0), group=at("set"),
        name=at("model"), out=path.with_name("out.csv"),
    )  # fmt: skip
    score_table(task)


def images() -> list[bytes]:
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (9, 7), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (9, 7), dtype=np.uint16))
    colour = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    for image, kind, more in (
        (grey, "PNG", {}), (deep, "PNG", {}), (colour.convert("P"), "PNG", {"transparency": 3}), (colour, "JPEG", {"exif": exif}),
        (colour.convert("CMYK"), "JPEG", {}), (colour, "TIFF", {"compression": "tiff_lzw"}), (deep, "TIFF", {}), (colour, "BMP", {}),
        (colour.convert("P"), "GIF", {"save_all": True, "append_images": [colour.convert("P")]}), (colour, "WEBP", {}), (grey, "PPM", {}),
        (colour, "JPEG2000", {}),
    ):  # fmt: skip
        out = io.BytesIO()
        image.save(out, kind, **more)
        made.append(out.getvalue())
    return made


def feed_image(path: Path) -> None:
    to_pixels(decode(path), channels=1, image_size_px=16, interpolation="bilinear")


def dicoms() -> list[bytes]:
    """Grey of 8 and of 16 bits with a window, and colour; none where there is no pydicom."""
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
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 8, 8, samples
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
        dataset.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME1"
        if samples == 3:
            dataset.PlanarConfiguration = 0
        else:
            dataset.WindowCenter, dataset.WindowWidth, dataset.RescaleSlope, dataset.RescaleIntercept = (
                40,
                400,
                1,
                -10,
            )
        dataset.PixelData = bytes(range(64)) * (bits // 8) * samples
        out = io.BytesIO()
        pydicom.dcmwrite(out, dataset, enforce_file_format=True)
        made.append(out.getvalue())
    return made


def run_info() -> list[bytes]:
    candidate = {"architecture": "a", "image_size_px": 16, "in_channels": 1, "num_classes": 2}
    data = {
        "name": "phantom", "format": "phantom", "sha256": "0" * 64, "labels": ["a", "b"], "channels": 1, "majority_baseline": 0.5,
        "splits": {"train": {"images": 2, "class_counts": [1, 1]}},
    }  # fmt: skip
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
    """kit.json and checksums.txt: what is an object is the one, all else the other."""
    content = path.read_bytes()
    name, read = (
        (install.KIT, install.read_kit)
        if content.startswith(b"{")
        else (install.CHECKSUMS, install.check_files)
    )
    (kit() / name).write_bytes(content)
    try:
        read(kit())
    except (OSError, ValueError) as fault:  # `main` says these in one line
        raise install.NotInstalled from fault


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
    "field_report": Target(".json", report, feed_report),
    "manifest": Target(".json", lambda: [(home("seed") / bundle_read.MANIFEST).read_bytes()], feed_manifest),
    "onnx": Target(".onnx", lambda: [(home("seed") / "model.onnx").read_bytes()], onnx_check.fault),
    "bundle": Target(".onnx", lambda: [(home("seed") / "model.onnx").read_bytes()], feed_bundle),
    "selftest": Target(".npz", lambda: [(home("seed") / selftest.FILE).read_bytes()], feed_selftest),
    "medmnist": Target(".npz", medmnist_files, feed_medmnist),
    "score_csv": Target(".csv", lambda: TABLES, feed_table),
    "search_csv": Target(
        ".csv", lambda: TABLES, lambda path: read_runs(path, None, "energy_kwh", "set", None)
    ),
    "reference": Target(".json", lambda: BOUNDS, lambda path: read_reference(path).of(None)),
    "run_record": Target(".json", run_info, lambda path: read_record(path, RunInfo)),
    "kit": Target(".json", lambda: [json.dumps(FACTS).encode(), kit_list(kit())], feed_kit),
    "image": Target(".img", images, feed_image),
    "dicom": Target(".dcm", dicoms, feed_image),
}
