"""What the tensors of a float32 graph hold on calibration images: extremes, means and samples by channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.export.int8.graph import Graph
from pepr_edge.export.int8.session import session

SAMPLES = 1 << 16  # values of a tensor that are kept, over all images and channels
Floats = NDArray[np.float64]


@dataclass
class TensorStatistics:
    """One tensor over the images, by channel. `sample` has shape (channels, n); `mean_square` is power."""

    low: Floats
    high: Floats
    mean: Floats
    mean_square: Floats
    sample: NDArray[np.float32]


def measure(graph: Graph, names: Sequence[str], images: NDArray[np.float32]) -> dict[str, TensorStatistics]:
    """Run the graph on images, one by one, and return the statistics of the tensors.

    Args:
        graph: in float32.
        names: tensors, inputs of the graph too.
        images: shape (n, channels, px, px), n >= 1.
    """
    inner = [name for name in dict.fromkeys(names) if name not in graph.inputs]
    image_name = next(iter(graph.inputs))
    opened = session(graph.save(), inner) if inner else None
    collected: dict[str, _Collector] = {}
    for number, image in enumerate(images):
        values: dict[str, NDArray[np.float32]] = {image_name: image[None]}
        if opened is not None:
            values.update(zip(inner, opened.run(inner, {image_name: image[None]}), strict=True))
        for name in names:
            if name not in collected:
                collected[name] = _Collector(values[name], len(images))
            collected[name].add(values[name], number)
    return {name: collector.result() for name, collector in collected.items()}


class _Collector:
    """Adds up one tensor over the images."""

    def __init__(self, values: NDArray[np.float32], images: int) -> None:
        self.axis = _channel_axis(values.ndim)
        channels = values.shape[self.axis] if self.axis is not None else 1
        self.per_image = max(1, SAMPLES // (images * channels))
        self.low = np.full(channels, np.inf)
        self.high = np.full(channels, -np.inf)
        self.sums = np.zeros(channels)
        self.squares = np.zeros(channels)
        self.count = 0
        self.samples: list[NDArray[np.float32]] = []

    def add(self, values: NDArray[np.float32], number: int) -> None:
        rows = values.reshape(1, -1)
        if self.axis is not None:
            rows = np.moveaxis(values, self.axis, 0).reshape(values.shape[self.axis], -1)
        np.minimum(self.low, rows.min(axis=1), out=self.low)
        np.maximum(self.high, rows.max(axis=1), out=self.high)
        self.sums += rows.sum(axis=1, dtype=np.float64)
        self.squares += np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        self.count += rows.shape[1]
        step = max(1, rows.shape[1] // self.per_image)
        # Another start for each image, so that a grid of pixels does not decide what is seen.
        start = (number * 7919) % step
        self.samples.append(rows[:, start::step][:, : self.per_image].copy())

    def result(self) -> TensorStatistics:
        count = max(1, self.count)
        return TensorStatistics(
            self.low, self.high, self.sums / count, self.squares / count, np.concatenate(self.samples, axis=1)
        )


def _channel_axis(dimensions: int) -> int | None:
    """Return the axis of the channels: 1 for images, the last for tokens and rows; None if there is none."""
    if dimensions < 2:
        return None
    return 1 if dimensions in (2, 4) else dimensions - 1
