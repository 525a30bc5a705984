"""Decide once, when a run begins, which weights each candidate begins with.

"auto" and "pretrained" look into the recipe's folder, then at what an earlier call of the same run began
with, then into the cache of timm, then at the hub. What is nowhere is trained from scratch by "auto", and is
an error by "pretrained". Nothing is looked for later, so a run stays as it began if a network comes or goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pepr_edge.errors import ModelError, PeprError
from pepr_edge.recipe import PRETRAINED, SCRATCH, Candidates, Recipe
from pepr_edge.recipe.settings import ResolvedCandidates
from pepr_edge.recipe.toml import read as read_toml
from pepr_edge.records import Candidate, InitialWeights, RunInfo, WeightsKind, WeightsSource
from pepr_edge.run_dir.layout import RECIPE, RUN
from pepr_edge.run_dir.store import read_record, sha256_file
from pepr_edge.text.units import listed, plural
from pepr_edge.train.weights import hub
from pepr_edge.train.weights.finding import NOT_OFFERED, file_notes, in_cache, in_folder, pretrained_of
from pepr_edge.untrusted.paths import is_file
from pepr_edge.zoo.pretrained import Pretrained

SOURCE_NAMES = {"weights_dir": "weights_dir", "cache": "the cache", "hub": "the hub"}
MAX_NAMED = 4
# So begins the reason for a size that the weights do not fit; it says nothing of other sizes.
OTHER_SIZE = "its pretrained weights fit images of"
NOT_IN_FOLDER = "weights_dir has no .safetensors, .pth or .pt file of its name"

OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class WeightsChoice:
    """The weights of a candidate, and their file on this machine.

    `path` is None from scratch, and for weights that a run began with and that are no longer there.
    """

    record: InitialWeights
    path: Path | None = None


def resolve_weights(
    candidates: ResolvedCandidates,
    earlier: Mapping[str, InitialWeights],
    on_progress: OnProgress = lambda done, total, name: None,
) -> dict[str, WeightsChoice]:
    """Return the initial weights of each candidate, by its id.

    Args:
        candidates: the recipe's, with paths that are valid here.
        earlier: what an earlier call of the same run began with.
        on_progress: called with the number of files done, their total and the name of the next one.
    Raises:
        ModelError: a weights file is missing, or the recipe asks for pretrained weights that are nowhere.
    """
    begun = {name: _begun(name, earlier) for name in candidates.architectures}
    found = {name: _on_this_machine(name, candidates, begun[name]) for name in candidates.architectures}
    missing = [name for name, choice in found.items() if choice is None]
    if missing:
        for name, offered in _from_hub(missing, begun, on_progress).items():
            kept = begun[name]
            if offered.path is None and candidates.weights_dir is not None:
                offered = _scratch(f"{NOT_IN_FOLDER}; {offered.record.reason}")
            found[name] = offered if kept is None or offered.path else WeightsChoice(kept)
    choices = {}
    for name, choice in found.items():
        assert choice is not None
        for px in candidates.sizes_px(name):
            choices[f"{name}@{px}"] = _at_size(choice, name, px)
    if candidates.weights == PRETRAINED:
        _check_all_pretrained(choices)
    return choices


def _begun(architecture: str, earlier: Mapping[str, InitialWeights]) -> InitialWeights | None:
    """Return the weights that an architecture began with, at any size where they fit; None if at none."""
    records = [
        record
        for name, record in earlier.items()
        if name.rpartition("@")[0] == architecture and not record.reason.startswith(OTHER_SIZE)
    ]
    return next((record for record in records if record.kind != "scratch"), records[0] if records else None)


def _at_size(choice: WeightsChoice, architecture: str, px: int) -> WeightsChoice:
    """Return the choice for images of a size: some pretrained weights fit one size only."""
    if choice.record.kind != "pretrained":
        return choice
    pretrained = pretrained_of(architecture)
    only_px = None if pretrained is None else pretrained.only_px
    if only_px in (None, px):
        return choice
    return _scratch(f"{OTHER_SIZE} {only_px} px only")


def _on_this_machine(
    architecture: str, candidates: ResolvedCandidates, earlier: InitialWeights | None
) -> WeightsChoice | None:
    """Return the weights of an architecture if they are known without a network, else None."""
    if candidates.weights == SCRATCH:
        return _scratch()
    if candidates.weights_file is not None:
        return _of_file(Path(candidates.weights_file), architecture, "file")
    if candidates.weights_dir is not None:
        path = in_folder(Path(candidates.weights_dir), architecture)
        if path is not None:
            return _of_file(path, architecture, "pretrained")
    if earlier is not None and (earlier.kind == "scratch" or earlier.source == "weights_dir"):
        return WeightsChoice(earlier)
    pretrained = pretrained_of(architecture)
    cached = None if pretrained is None else in_cache(pretrained)
    if pretrained is None or cached is None:
        return None
    return _of_timm(pretrained, cached, "cache", earlier)


def _of_file(path: Path, architecture: str, kind: WeightsKind) -> WeightsChoice:
    """Return the choice of a file of the user's; it expects the same images as timm's weights."""
    if not is_file(path):
        raise missing_file(path)
    notes = file_notes(path)
    pretrained = pretrained_of(architecture)
    record = InitialWeights(
        kind=kind,
        source="file" if kind == "file" else "weights_dir",
        name=notes.name or path.name,
        sha256=sha256_file(path),
        licence=notes.licence,
        interpolation=None if pretrained is None else pretrained.interpolation,
    )
    return WeightsChoice(record, path)


def _of_timm(
    pretrained: Pretrained, path: Path, source: WeightsSource, earlier: InitialWeights | None
) -> WeightsChoice:
    """Return the choice of a file of timm's; the record of an earlier call stays."""
    if earlier is not None:
        return WeightsChoice(earlier, path)  # the job that reads the file compares its hash
    record = InitialWeights(
        kind="pretrained",
        source=source,
        name=pretrained.name,
        sha256=sha256_file(path),
        licence=pretrained.licence,
        interpolation=pretrained.interpolation,
    )
    return WeightsChoice(record, path)


def _from_hub(
    architectures: Sequence[str], begun: Mapping[str, InitialWeights | None], on_progress: OnProgress
) -> dict[str, WeightsChoice]:
    """Download what the hub has; the others are trained from scratch."""
    connection = hub.Connection()
    choices = {}
    for done, architecture in enumerate(architectures):
        on_progress(done, len(architectures), architecture)
        choices[architecture] = _downloaded(architecture, connection, begun[architecture])
    return choices


def _downloaded(
    architecture: str, connection: hub.Connection, earlier: InitialWeights | None
) -> WeightsChoice:
    pretrained = pretrained_of(architecture)
    if pretrained is None:
        return _scratch(NOT_OFFERED)
    try:
        return _of_timm(pretrained, connection.download(pretrained), "hub", earlier)
    except ModelError as error:
        return _scratch(str(error))


def _scratch(reason: str = "") -> WeightsChoice:
    return WeightsChoice(InitialWeights(kind="scratch", reason=reason))


def _check_all_pretrained(choices: Mapping[str, WeightsChoice]) -> None:
    """Refuse to train from scratch what the recipe wants to begin with pretrained weights."""
    lacking = {name: choice.record for name, choice in choices.items() if choice.record.kind == "scratch"}
    if not lacking:
        return
    groups = _by_reason(lacking)
    why = "; ".join(f"{listed(names, MAX_NAMED)}: {reason}" for reason, names in groups.items())
    if len(groups) == 1:
        why = next(iter(groups))
    raise ModelError(
        f'candidates.weights = "pretrained", but {len(lacking)} of {plural(len(choices), "candidate")} '
        f"({listed(list(lacking), MAX_NAMED)}) have no weights here: {why}. Fetch them on a machine with "
        "a network (pepr-edge weights fetch RECIPE --out DIR) and set candidates.weights_dir, or set "
        'weights = "auto", which trains these from scratch.'
    )


def missing_file(path: Path) -> ModelError:
    """Return the error of a recipe that names a file that is not there."""
    return ModelError(
        f'candidates.weights = "{path}": no such file, expected "auto", "pretrained", "scratch" or the path '
        "of a weights file. Check the path."
    )


def earlier_weights(run_dir: Path, candidates: Candidates) -> dict[str, InitialWeights]:
    """Return what an earlier call of a run began with; nothing if it asked for other weights."""
    try:
        info = read_record(run_dir / RUN, RunInfo)
        recipe = read_toml(run_dir / RECIPE, Recipe)
    except PeprError:
        return {}
    if recipe.candidates.weights != candidates.weights:
        return {}
    return info.weights or {candidate.id: _recorded(candidate) for candidate in info.candidates}


def _recorded(candidate: Candidate) -> InitialWeights:
    """Return the weights of a candidate of version 0.1, which kept no more of them."""
    kind: WeightsKind = "file"
    if candidate.weights == "scratch":
        kind = "scratch"
    elif candidate.weights == "pretrained":
        kind = "pretrained"
    name = candidate.weights if kind == "file" else ""
    return InitialWeights(kind=kind, name=name, sha256=candidate.weights_sha256)


def weights_line(records: Mapping[str, InitialWeights], candidates: Candidates) -> str | None:
    """Return in one line what the candidates of a run begin with; None if the recipe says it itself."""
    if candidates.weights == SCRATCH or candidates.weights_file is not None:
        return None
    scratch = {name: record for name, record in records.items() if record.kind == "scratch"}
    sources = Counter(record.source for record in records.values() if record.kind == "pretrained")
    parts = []
    if sources:
        found = [f"{count} from {SOURCE_NAMES.get(source, 'timm')}" for source, count in sources.items()]
        number = len(records) - len(scratch)
        parts.append(f"{number} of {plural(len(records), 'candidate')} pretrained ({listed(found)})")
    for reason, names in _by_reason(scratch).items():
        why = f": {reason}" if reason else ""
        parts.append(f"{len(names)} from scratch ({listed(names, MAX_NAMED)}){why}")
    return f"initial weights: {'; '.join(parts)}"


def _by_reason(scratch: Mapping[str, InitialWeights]) -> dict[str, list[str]]:
    """Return the names of candidates without pretrained weights, by the reason."""
    names: dict[str, list[str]] = {}
    for name, record in scratch.items():
        names.setdefault(record.reason, []).append(name)
    return names
