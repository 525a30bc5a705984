"""Bundles of all kinds of tasks, and a site's images for them: in a table with groups, and in folders."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tiny_bundle
from PIL import Image

from pepr_edge.bundle.read import read_manifest
from pepr_edge.records import Decision, Manifest, TensorSpec
from pepr_edge.tasks import TaskKind

Task = tuple[TaskKind, tuple[str, ...], Decision, str]
TASKS: dict[str, Task] = {
    "binary": (
        "binary",
        ("normal", "pneumonia"),
        Decision(kind="threshold", positive="pneumonia", temperature=2.0, threshold=0.45),
        "sensitivity_at_specificity_0.8",
    ),
    "grades": (
        "ordinal",
        ("0 none", "1 mild", "2 severe"),
        Decision(kind="median", temperature=3.0),
        "quadratic_kappa",
    ),
    "findings": (
        "multilabel",
        ("edema", "effusion", "mass"),
        Decision(kind="thresholds", temperatures=(2.0, 1.0, 4.0), thresholds=(0.5, 0.3, 0.6)),
        "mean_auroc",
    ),
}
IMAGES = 60


def write(folder: Path, name: str) -> Path:
    """Write a bundle of a task, which passes its self-test."""
    kind, labels, decision, metric = TASKS[name]
    tiny_bundle.write(folder)
    made = tiny_bundle.model(classes=len(labels), seed=len(name))
    onnx.save(made, folder / "model.onnx")
    with np.load(folder / "selftest.npz") as archive:
        arrays = dict(archive)
    spec = read_manifest(folder).preprocess
    arrays["logits"] = tiny_bundle.logits_of(folder / "model.onnx", arrays["pixels"], spec)
    np.savez_compressed(folder / "selftest.npz", **arrays)

    def change(manifest: Manifest) -> Manifest:
        changes: dict[str, Any] = {
            "labels": labels,
            "decision": decision,
            "task": None if kind == "binary" else kind,
            "performance_metric": metric,
            "output": TensorSpec(name="logits", shape=(-1, len(labels))),
        }
        return manifest.model_copy(update=changes)

    tiny_bundle.rewrite_manifest(folder, change)
    return folder


def site(folder: Path, name: str) -> Path:
    """Write a site's images and their table, with the columns sex and age_band; one image is torn."""
    folder.mkdir()
    _, labels, _, _ = TASKS[name]
    rng = np.random.default_rng(len(name))
    findings = labels if name == "findings" else ("label",)
    with (folder / "site.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", *findings, "sex", "age_band"))
        for number in range(IMAGES):
            grade = number % len(labels)
            pixels = rng.integers(0, 60 + 60 * grade + number, (20, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            of_image = rng.integers(0, 2, 3).tolist() if name == "findings" else [labels[grade].upper()]
            band = ("0-39", "40-59", "60+", "", "")[number // 13]
            writer.writerow((f"{number}.png", *of_image, "fm"[number % 2], band))
        (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:60])
        writer.writerow(("torn.png", *of_image, "f", "60+"))
    return folder / "site.csv"


def folders(folder: Path, name: str) -> Path:
    """Write a site's images as a folder for each class, beside others that are left out."""
    _, labels, _, _ = TASKS[name]
    rng = np.random.default_rng(7)
    for number in range(IMAGES):
        grade = number % len(labels)
        path = folder / labels[grade] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 80 + 60 * grade, (20, 24), dtype=np.uint8)).save(path)
    (folder / "notes.txt").write_text("no image")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "logo.png")
    return folder
