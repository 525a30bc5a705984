"""The cost tracker of a training: it measures each period of work and saves the cost to disk while it runs.

Work lost to an interruption still costs energy, so the process that resumes must know it.
"""

from __future__ import annotations

import time
from pathlib import Path

from pepr_edge.energy.meter import Meter, Usage
from pepr_edge.records import Count, TrainCost, Versioned
from pepr_edge.run_dir.layout import SPENT
from pepr_edge.run_dir.store import read_current, write_record
from pepr_edge.train.cost import Account, add_usage, with_peaks

PERIOD_S = 2.0  # about this much may be missing from the cost if the process is killed


class CostSnapshot(Versioned):
    """spent.json: the whole cost of a training at some moment, and the number of interruptions before."""

    key: str
    interruptions: Count
    cost: TrainCost


class CostTracker:
    """Measures one period of work at a time: `begin` it, `tick` while it runs, `end` it."""

    def __init__(
        self, folder: Path, key: str, meter: Meter, country: str | None, cost: TrainCost, interruptions: int
    ) -> None:
        self.cost = cost
        self.interruptions = interruptions
        self._folder = folder
        self._key = key
        self._meter = meter
        self._country = country
        self._account: Account = "setup"
        self._images = 0
        self._mark = meter.mark()
        self._written_s = time.perf_counter()

    def begin(self, account: Account) -> None:
        """Begin a period of work."""
        self._account = account
        self._images = 0
        self._mark = self._meter.mark()

    def tick(self, images: int = 0) -> None:
        """Report that the period goes on; every few seconds the cost is saved.

        Args:
            images: number of training images processed in this period so far.
        """
        self._images = images
        if time.perf_counter() - self._written_s >= PERIOD_S:
            self.write(self._with_usage(self._meter.since(self._mark)))

    def end(self) -> Usage:
        """End the period, add it to the cost, and return what it used."""
        usage = self._meter.since(self._mark)
        self.cost = self._with_usage(usage)
        return usage

    def update_peaks(self, process: int | None, gpu: int | None) -> None:
        """Update the peak memory, bytes; None if it is not known."""
        self.cost = with_peaks(self.cost, process, gpu)

    def write(self, cost: TrainCost | None = None) -> None:
        """Save a cost; by default the cost at the end of the last period."""
        snapshot = CostSnapshot(key=self._key, interruptions=self.interruptions, cost=cost or self.cost)
        write_record(self._folder / SPENT, snapshot)
        self._written_s = time.perf_counter()

    def _with_usage(self, usage: Usage) -> TrainCost:
        return add_usage(self.cost, self._account, usage, self._images, self._country)


def read_snapshot(folder: Path, key: str) -> CostSnapshot | None:
    """Read the cost that an interrupted training with this key left behind; None if there is none."""
    return read_current(folder / SPENT, CostSnapshot, key)
