"""Targets of what a training begins with: weights files, tensor files, label matrices, tables of findings."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from pepr_edge.compare import published
from pepr_edge.data import finding_columns, medmnist, tensor
from pepr_edge.data.source import DataSettings
from pepr_edge.data.table import column_key, read_table
from pepr_edge.train.weights.fitting import Fitted, Misfit, by_names, by_order
from pepr_edge.train.weights.layers import Layers
from pepr_edge.train.weights.prefixes import without_prefixes
from pepr_edge.train.weights.reading import read_weights
from pepr_edge.untrusted.shown import is_plain

RATERS = DataSettings("", 16, raters=True)
FINDINGS = DataSettings("", 16, kind="multilabel")


def network() -> nn.Module:
    model = nn.Module()
    model.stem = nn.Conv2d(3, 2, 3)
    model.norm = nn.BatchNorm2d(2)
    model.head = nn.Linear(2, 2)
    return model


def weights_files() -> list[bytes]:
    """Return the same tensors as safetensors, and as torch.save writes them: plain, wrapped, and old."""
    torch.manual_seed(0)
    state = network().state_dict()
    wrapped = {
        "model": {f"module.{name}": value for name, value in state.items()},
        "model_ema": state,
        "epoch": 3,
    }
    return [
        safetensors.torch.save(state, {"format": "pt"}),
        saved(dict(state)),
        saved(wrapped),
        saved({f"encoder.{name}": value.half() for name, value in state.items()}),
        saved(dict(state), _use_new_zipfile_serialization=False),
    ]


def saved(document: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(document, out, **options)
    return out.getvalue()


def feed_weights(path: Path) -> None:
    """Read a weights file, and assign its tensors by name and by order."""
    layers = Layers(network().state_dict(), first=("stem",), head=("head",))
    read = read_weights(path)
    named = by_names(read.tensors, layers)
    if isinstance(named, Misfit):
        assert is_plain(named.text())
        ordered = by_order(without_prefixes(read.tensors, layers), layers) if read.ordered else ""
        named = ordered if isinstance(ordered, Fitted) else Fitted({}, "names")
    for name, value in named.tensors.items():
        own = layers.tensors[name]
        assert value.contiguous().shape == own.shape or layers.in_head(name) or layers.is_first(name)


def tensor_files() -> list[bytes]:
    """Return tensor files of each layout."""
    images = torch.arange(6 * 64).remainder(256).byte().reshape(6, 8, 8)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    splits = {f"{split}_images": images for split in ("train", "val", "test")}
    splits |= {f"{split}_targets": labels for split in ("train", "val", "test")}
    return [
        saved({"images": images, "targets": labels}),
        saved((images.float().div(255)[:, None], torch.stack([labels, 1 - labels, labels], 1))),
        saved(splits),
    ]


def feed_tensors(path: Path) -> None:
    """Open a tensor file as classes and as votes of raters, and read its images."""
    for settings in (DataSettings(str(path), 16), DataSettings(str(path), 16, raters=True)):
        tensor.known_kind(settings)
        source = tensor.open_source(settings)
        for image in source.read(np.arange(min(6, len(source.targets)))):
            assert isinstance(image, Image.Image)


def matrices() -> list[bytes]:
    """Return archives whose images have several labels: findings, and votes of raters."""
    images = np.zeros((4, 8, 8), np.uint8)
    findings = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], np.uint8)
    archives = []
    for labels in (findings, findings * 2):
        out = io.BytesIO()
        arrays: dict[str, Any] = {"train_images": images, "train_labels": labels}
        arrays |= {"test_images": images, "test_labels": labels}
        np.savez_compressed(out, **arrays)
        archives.append(out.getvalue())
    return archives


def feed_matrix(path: Path) -> None:
    """Open an archive by whatever its labels hold: votes if some are above 1, findings else."""
    raters = medmnist.open_source(replaced(RATERS, path))
    assert raters.targets.ndim == 1
    if raters.targets.max() <= 1:
        assert medmnist.open_source(DataSettings(str(path), 16)).targets.ndim <= 2


def replaced(settings: DataSettings, path: Path) -> DataSettings:
    return replace(settings, source=str(path))


def finding_tables() -> list[bytes]:
    return FINDING_TABLES


def published_tables() -> list[bytes]:
    return [PUBLISHED]


FINDING_TABLES = [
    b"path,edema,effusion,nodule\na.png,0,1,0\nb.png,1,1,1\nc.png,0,0,0\n",
    b"path,label,group\na.png,edema|effusion,p1\nb.png,No Finding,p2\nc.png,nodule,p3\n",
    b"path;label\na.png;edema, effusion\nb.png;effusion\n",
]


def feed_findings(path: Path) -> None:
    """Choose the columns of findings of a table, and read those of each row."""
    table = read_table(path, {column_key(name) for name in ("path", "label")})
    found = finding_columns.choose_findings(table, replaced(FINDINGS, path))
    for problem in found.chosen.problems:
        assert is_plain(problem.remedy)
    for row in table.rows:
        values = {role: row.values[position] for role, position in found.chosen.positions.items()}
        assert all(isinstance(name, str) for name in found.of_row(values))


PUBLISHED = (
    b"dataset,model,type,efficient,num_params,gpu_memory_gb,energy_kwh,co2eq_g,last_epoch_s,test_00,test_01\n"
    + b"".join(
        b"%s,m%d,CNN,%d,%d,0.5,0.%d1,1.%d,2.5,0.5,0.%d\n" % (name, n, n % 2, 1000 * n, n, n, n + 1)
        for name in (b"one", b"two")
        for n in range(1, 5)
    )
)


def feed_published(path: Path) -> None:
    """Read the sets of a table of published results as `compare` does."""
    sides = (published.read("one", path, "one"), published.read("two", path, "two"))
    published.unreliable_scores(sides)
    for text in published.caveats("one", "two", sides):
        assert is_plain(text)
