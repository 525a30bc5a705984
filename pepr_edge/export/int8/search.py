"""int8 with the fewest nodes left in float32 that keeps the quality, by the measured effect of each rounding.

As in NNCF's accuracy control, roundings are ranked by what they change in the logits. Those with the largest
effect are undone until the quality is kept, then nodes go back to int8 one by one while it stays kept.

Source: OpenVINO, Quantizing with accuracy control.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import onnx

from pepr_edge.errors import ExportError
from pepr_edge.export.int8.form import Int8Form, description, int8_form
from pepr_edge.export.int8.sensitivity import Rounding, effects
from pepr_edge.export.int8.session import logits_of
from pepr_edge.export.prepare import Images, PreparedModel
from pepr_edge.recipe.variants import Quantise
from pepr_edge.tasks import task_of

MAX_FLOAT_SHARE = 0.5  # of the integer nodes: with more of them in float32, int8 gains little speed
MIN_AGREEMENT = 0.99  # MLPerf's rule, if the caller gives no quality gate
MAX_NAMES = 8  # of nodes in a remedy
MAX_RETURNS = 12  # nodes that may go back to int8, one by one: each costs a measurement of the quality

Accept = Callable[[Path], bool]


def mixed(
    prepared: PreparedModel, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> str:
    """Write the int8 form with the fewest float32 nodes that keeps the quality.

    Args:
        prepared: the float32 file.
        path: the file to write.
        images: model inputs for calibration and for measuring the effects; no labels are needed.
        settings: of the int8 form.
        accept: True if a file keeps the quality. If None, a file must decide on 99 % of `images` as the
            float32 file does.
    Returns:
        What was rewritten, and which nodes stayed float32.
    Raises:
        ExportError: more than half of the nodes would stay float32, or the form cannot be made.
    """
    form = int8_form(prepared, images, settings)
    accept = accept or _agreement_check(prepared, images)
    form.write(path)
    if accept(path):
        return description(form.rewritten)
    return _Search(form, path, accept).run(images)


class _Search:
    """Looks for the fewest float32 nodes; `path` holds the last file that was tried."""

    def __init__(self, form: Int8Form, path: Path, accept: Accept) -> None:
        self.form = form
        self.path = path
        self.accept = accept
        self.total = _integer_nodes(form)

    def run(self, images: Images) -> str:
        """Find the nodes and write their file; return the remedy."""
        roundings = effects(self.form, images)
        steps = _steps(roundings, MAX_FLOAT_SHARE * len(self.total))
        best = self._fewest_steps(steps)
        best = self._return_nodes(best, roundings)
        self.form.write(self.path, best)
        return f"{description(self.form.rewritten)}; {self._remedy(best)}"

    def _keeps(self, nodes: frozenset[str]) -> bool:
        self.form.write(self.path, nodes)
        return self.accept(self.path)

    def _fewest_steps(self, steps: Sequence[frozenset[str]]) -> frozenset[str]:
        """Return the smallest of the growing sets with which the quality is kept.

        The first, second, fourth ... are tried, then those in between by bisection.
        """
        place = 0
        failed = -1
        while place < len(steps) and not self._keeps(steps[place]):
            failed = place
            place = min(2 * place + 1, len(steps) - 1) if place < len(steps) - 1 else len(steps)
        if place >= len(steps):
            most = len(steps[-1]) if steps else 0
            raise ExportError(
                f"the quality is not kept with {most} of {len(self.total)} nodes left float32, and with more "
                "than half of them int8 gains little. Use the float32 file."
            )
        return steps[self._bisect(steps, failed, place)]

    def _bisect(self, steps: Sequence[frozenset[str]], failed: int, kept: int) -> int:
        """Return the first place between one that failed and one that kept the quality that keeps it."""
        while kept - failed > 1:
            middle = (failed + kept) // 2
            try:
                if self._keeps(steps[middle]):
                    kept = middle
                else:
                    failed = middle
            except ExportError:  # the time is used up: what was found stands
                return kept
        return kept

    def _return_nodes(self, nodes: frozenset[str], roundings: Sequence[Rounding]) -> frozenset[str]:
        """Let nodes compute in int8 again, those with the least effect first, while the quality is kept."""
        effect = dict.fromkeys(nodes, 0.0)
        for rounding in roundings:
            for name in rounding.nodes & nodes:
                effect[name] = max(effect[name], rounding.effect)
        for name in sorted(nodes, key=lambda name: effect[name])[:MAX_RETURNS]:
            try:
                if len(nodes) > 1 and self._keeps(nodes - {name}):
                    nodes = nodes - {name}
            except ExportError:
                return nodes
        return nodes

    def _remedy(self, nodes: Collection[str]) -> str:
        """Name the float32 nodes, in the order of the graph."""
        ordered = [node.name for node in self.form.graph.nodes if node.name in nodes]
        names = ", ".join(ordered[:MAX_NAMES])
        if len(ordered) > MAX_NAMES:
            names += " ..."
        return f"{len(ordered)} of {len(self.total)} nodes left float32: {names}"


def _integer_nodes(form: Int8Form) -> list[str]:
    return [node.name for node in form.graph.nodes if node.name not in form.floats]


def _steps(roundings: Sequence[Rounding], limit: float) -> list[frozenset[str]]:
    """Return growing sets of nodes: each undoes the rounding with the largest effect per added node."""
    steps: list[frozenset[str]] = []
    chosen: frozenset[str] = frozenset()
    left = list(roundings)
    while left:
        best = max(left, key=lambda rounding: rounding.effect / max(1, len(rounding.nodes - chosen)))
        left.remove(best)
        wider = chosen | best.nodes
        if len(wider) > limit:
            break
        if wider != chosen:
            steps.append(wider)
        chosen = wider
    return steps


def _agreement_check(prepared: PreparedModel, images: Images) -> Accept:
    """Return a check that a file decides on nearly all images as the float32 file does."""
    expected = logits_of(onnx.load(str(prepared.float32_path)), images)
    task = task_of()

    def agrees(path: Path) -> bool:
        found = logits_of(onnx.load(str(path)), images)
        return bool(task.agree(found, expected).mean() >= MIN_AGREEMENT)

    return agrees
