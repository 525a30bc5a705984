"""A ranked artifact as a bundle: a folder with everything that is needed to use the model, and to check it where it lands."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.bundle import real_images
from pepr_edge.bundle.hub import hub_config, hub_preprocessor
from pepr_edge.bundle.model_card import model_card
from pepr_edge.bundle.read import MANIFEST, read_manifest
from pepr_edge.data import phantom
from pepr_edge.errors import BundleError, RunError
from pepr_edge.export.check import logits_of
from pepr_edge.measure import selftest
from pepr_edge.measure.settings import as_at_home
from pepr_edge.recipe import FLOAT32
from pepr_edge.records import (
    Fallback,
    Manifest,
    Preprocess,
    Ranking,
    RankingRow,
    SelfTestSpec,
    SessionSettings,
    TensorSpec,
)
from pepr_edge.run_dir.owned import is_os_metadata, is_owned_folder
from pepr_edge.run_dir.reader import Results, VariantState, exported
from pepr_edge.run_dir.store import PRIVATE, sha256_file, write_bytes, write_record, write_text
from pepr_edge.scoring.metrics import confusion_matrix

FALLBACK = "fallback.onnx"
SELFTEST_IMAGES = 16
SELFTEST_DRAWN = 64


def write_all(results: Results, ranking: Ranking, out: Path, top: int | None = None) -> Ranking:
    """Write the best `top` ranked artifacts (None: all) as bundles into a folder, replacing the bundles of an earlier ranking there.

    Returns:
        The ranking, each row with the name of its bundle's folder.
    Raises:
        RunError: `out` holds something else than bundles, or the run has changed since the ranking was made.
    """
    out = out.resolve()
    check_bundles(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.parent / PRIVATE if is_owned_folder(out.parent) else out.parent
    with TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=beside) as temporary:
        made = Path(temporary) / out.name
        made.mkdir()
        rows = _write_rows(results, ranking, made, out.name, top)
        _replace(made, out)
    return ranking.model_copy(update={"rows": tuple(rows)})


def _write_rows(
    results: Results, ranking: Ranking, made: Path, name_of_out: str, top: int | None
) -> list[RankingRow]:
    """Write the bundles into a folder; the ranking's rows, each with the name of its bundle."""
    by_artifact = {(entry.candidate.id, entry.variant): entry for entry in results.entries}
    rows = []
    for row in ranking.rows:
        name = None
        if row.rank is not None and (top is None or row.rank <= top):
            name = f"{row.rank:02d}-{row.candidate}-{row.variant}"
            entry = by_artifact.get((row.candidate, row.variant or ""))
            if (
                entry is None
                or entry.artifact is None
                or entry.profile is None
                or entry.artifact.sha256 != row.artifact_sha256
            ):
                raise RunError(
                    f"{results.folder}: changed since its ranking was made ({name}). Run `pepr-edge run` on it again."
                )
            plain = exported(results.folder, results.recipe, results.info, entry.candidate).get(FLOAT32)
            write(entry, plain, row, ranking, results, made / name)
        rows.append(row.model_copy(update={"bundle": f"{name_of_out}/{name}" if name else None}))
    return rows


def check_bundles(out: Path) -> None:
    """Refuse a folder for bundles that holds anything but whole bundles, since those are replaced.

    Raises:
        RunError: it is a file, or holds something else, also inside a bundle. Nothing was touched.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"{out}: a file, expected a folder that is new or empty. Give another --out.")
    for entry in sorted(out.iterdir()):
        if is_os_metadata(entry.name):
            continue
        if entry.is_symlink() or not (entry / MANIFEST).is_file():
            raise RunError(
                f"{out}: holds {entry.name!r}, which is no bundle. Give an --out that is empty or new."
            )
        if (other := _other_file(entry)) is not None:
            raise RunError(
                f"{entry}: {other!r} is not as pepr_edge wrote it. Move it, or the whole bundle, away; it would be lost."
            )


def _other_file(bundle: Path) -> str | None:
    """The name of a file in a bundle's folder that is not of the bundle, or was changed; None where there is none."""
    try:
        files = read_manifest(bundle).files
    except BundleError:
        return MANIFEST
    for path in sorted(bundle.iterdir()):
        if path.name == MANIFEST or is_os_metadata(path.name):
            continue
        if path.is_symlink() or not path.is_file() or sha256_file(path) != files.get(path.name):
            return path.name
    return None


def _replace(made: Path, out: Path) -> None:
    """Put new bundles in the place of those that `check_bundles` has found whole, file by file."""
    check_bundles(out)  # they were made for minutes
    out.mkdir(exist_ok=True)
    for bundle in out.iterdir():
        if bundle.is_dir():
            for path in bundle.iterdir():
                path.unlink()
            bundle.rmdir()
    for bundle in made.iterdir():
        shutil.move(bundle, out / bundle.name)  # the folder may be a stick of its own


def write(
    entry: VariantState,
    plain: VariantState | None,
    row: RankingRow,
    ranking: Ranking,
    results: Results,
    folder: Path,
) -> None:
    """Write one bundle; with `plain`, its candidate's float32 file, as the fallback of a model of another variant."""
    assert entry.trained is not None
    assert entry.artifact is not None
    assert entry.profile is not None
    assert row.rank is not None
    folder.mkdir()
    trained, artifact = entry.trained, entry.artifact
    shutil.copyfile(entry.folder / "model.onnx", folder / "model.onnx")
    fallback = plain is not None and plain.artifact is not None and not _is_plain(entry)
    if plain is not None and fallback:
        shutil.copyfile(plain.folder / "model.onnx", folder / FALLBACK)
    spec, fallback_spec = _selftest(folder, trained.preprocess, entry.profile.settings, fallback, results)
    labels = results.info.data.labels
    write_text(
        folder / "config.json",
        json.dumps(hub_config(trained.candidate.architecture, labels), indent=1) + "\n",
    )
    write_text(
        folder / "preprocessor_config.json", json.dumps(hub_preprocessor(trained.preprocess), indent=1) + "\n"
    )
    px, channels = trained.preprocess.image_size_px, trained.preprocess.channels
    manifest = Manifest(
        architecture=trained.candidate.architecture,
        variant=artifact.variant,
        image_size_px=px,
        num_params=trained.num_params,
        labels=labels,
        preprocess=trained.preprocess,
        input=TensorSpec(name="pixel_values", shape=(-1, channels, px, px)),
        output=TensorSpec(name="logits", shape=(-1, len(labels))),
        performance=artifact.performance,
        performance_metric=ranking.performance_metric,
        train_cost=trained.cost,
        profile=entry.profile,
        pepr=row.pepr,
        rank=row.rank,
        bounds=ranking.bounds,
        set_id=ranking.set_id,
        selftest=spec,
        fallback=Fallback(file=FALLBACK, variant=FLOAT32, selftest=fallback_spec)
        if fallback_spec is not None
        else None,
        provenance=provenance(results, entry),
        files={},
    )
    found = entry.predictions()
    confusion = confusion_matrix(found["test"], found["test_labels"].astype(np.int64))
    # The card is written from the manifest, and the manifest holds the card's checksum: the card first.
    write_text(folder / "MODEL_CARD.md", model_card(manifest, results.info.data, confusion))
    files = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    write_record(folder / "manifest.json", manifest.model_copy(update={"files": files}))


def provenance(results: Results, entry: VariantState) -> dict[str, Any]:
    """Where a model comes from: versions, seed, the hashes of data and checkpoint."""
    assert entry.trained is not None
    assert entry.artifact is not None
    return {
        "recipe": results.recipe.name,
        "data": results.info.data.name,
        "data_sha256": results.info.data.sha256,
        "checkpoint_sha256": entry.trained.checkpoint_sha256,
        "seed": entry.trained.seed,
        "protocol": entry.trained.protocol,
        "weights": entry.candidate.weights,
        "exporter": entry.artifact.exporter,
        "producer": entry.artifact.producer,
        "opset": entry.artifact.opset,
        "commit": results.info.commit,
        "versions": {"pepr_edge": results.info.pepr_edge, **entry.trained.environment.versions},
    }


def _is_plain(entry: VariantState) -> bool:
    """Whether an entry is float32 already, run as a fallback would be: with onnxruntime on the processor."""
    assert entry.profile is not None
    settings = entry.profile.settings
    way = (settings.runtime, settings.provider, settings.precision)
    return entry.variant == FLOAT32 and way == ("onnxruntime", "cpu", "float32")


def _selftest(
    folder: Path, spec: Preprocess, settings: SessionSettings, fallback: bool, results: Results
) -> tuple[SelfTestSpec, SelfTestSpec | None]:
    """Images on which the bundle's models decide clearly, with their logits here: generated ones, then real ones, if any are allowed."""
    drawn, _ = phantom.images(SELFTEST_DRAWN, seed=0, size_px=spec.image_size_px)
    pixels = np.repeat(drawn[..., None], spec.channels, axis=3)
    real = real_images.choice(results, spec.image_size_px)
    pixels = pixels if real is None else np.concatenate([pixels, real])
    # A run may have come here from a machine that has a runtime which this one lacks.
    logits = {"logits": logits_of(folder / "model.onnx", pixels, spec, as_at_home(settings)[0])}
    if fallback:
        logits["fallback_logits"] = logits_of(
            folder / FALLBACK, pixels, spec, SessionSettings(threads=settings.threads)
        )
    clear = np.min([margins(values) for values in logits.values()], axis=0)
    own = SELFTEST_DRAWN + clearest(clear[SELFTEST_DRAWN:], results.recipe.export.selftest_real_images)
    taken = np.concatenate([clearest(clear[:SELFTEST_DRAWN], SELFTEST_IMAGES), own])
    content = io.BytesIO()
    np.savez_compressed(
        content, pixels=pixels[taken], **{name: values[taken] for name, values in logits.items()}
    )
    write_bytes(folder / selftest.FILE, content.getvalue())
    made = SelfTestSpec(
        n=len(taken), tolerance=tolerance([values[taken] for values in logits.values()]), real_images=len(own)
    )
    return made, made if fallback else None


def clearest(clear: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Where the greatest `count` values are, in their order; all where there are fewer."""
    return np.sort(np.argsort(-clear)[:count])


def margins(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of the greatest logit from the second, shape (n,)."""
    ordered = np.sort(logits, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2], dtype=np.float32)


def tolerance(logits: Sequence[NDArray[np.float32]]) -> float:
    """How far logits may be off on another device: half of the least margin of the float32 file and of the model made from it.

    Within it no decision can turn that either of them makes on these images, and a model is held to what float32 is sure of.
    """
    return max(min(float(margins(values).min()) for values in logits) / 2, 1e-4)
