"""The ledger of a training: measures each stretch of work, and keeps the account on the disk meanwhile.

What an interruption takes away was spent all the same, so it must be known to the process that goes on.
"""

from __future__ import annotations

import time
from pathlib import Path

from pepr_edge.energy.meter import Meter, Use
from pepr_edge.records import Count, TrainCost, Versioned
from pepr_edge.run_dir.store import read_current, write_record
from pepr_edge.run_dir.training_files import SPENT
from pepr_edge.train.cost import Account, charged, with_peaks

PERIOD_S = 2.0  # about so much may be missing from the account where the process is killed


class CostSnapshot(Versioned):
    """spent.json: all that a training had cost by a moment, and how often it was interrupted before."""

    key: str
    interruptions: Count
    cost: TrainCost


class CostTracker:
    """Holds a training's account open: one stretch of work at a time, each begun, ticked while it lasts, and ended."""

    def __init__(
        self, folder: Path, key: str, meter: Meter, country: str | None, cost: TrainCost, interruptions: int
    ) -> None:
        self.cost, self.interruptions = cost, interruptions
        self._folder, self._key, self._meter, self._country = folder, key, meter, country
        self._account: Account = "training"
        self._images = 0
        self._mark = meter.mark()
        self._written_s = time.perf_counter()

    def begin(self, account: Account) -> None:
        """Begin a stretch."""
        self._account, self._images, self._mark = account, 0, self._meter.mark()

    def tick(self, images: int = 0) -> None:
        """Say that the stretch goes on, with so many images trained on in it by now; every few seconds the account is written down."""
        self._images = images
        if time.perf_counter() - self._written_s >= PERIOD_S:
            self.write(self._charged(self._meter.since(self._mark)))

    def end(self) -> Use:
        """End the stretch: what it used, by now a part of the cost."""
        use = self._meter.since(self._mark)
        self.cost = self._charged(use)
        return use

    def peaks(self, process: int | None, gpu: int | None) -> None:
        """Note the greatest memory by now, bytes; None where it is not known."""
        self.cost = with_peaks(self.cost, process, gpu)

    def write(self, cost: TrainCost | None = None) -> None:
        """Write the account down, by default as it was when the last stretch ended."""
        write_record(
            self._folder / SPENT,
            CostSnapshot(key=self._key, interruptions=self.interruptions, cost=cost or self.cost),
        )
        self._written_s = time.perf_counter()

    def _charged(self, use: Use) -> TrainCost:
        return charged(self.cost, self._account, use, self._images, self._country)


def read_snapshot(folder: Path, key: str) -> CostSnapshot | None:
    """The account that an interrupted training with these inputs left."""
    return read_current(folder / SPENT, CostSnapshot, key)
