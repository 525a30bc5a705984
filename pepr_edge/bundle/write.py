"""Write ranked models as bundles: folders with all that is needed to use and check a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.bundle.hub import decisions_of, hub_config, hub_preprocessor
from pepr_edge.bundle.model_card import model_card
from pepr_edge.bundle.read import MANIFEST, SIGNATURE, is_signed, read_manifest
from pepr_edge.bundle.write_selftest import FALLBACK, write_selftest
from pepr_edge.errors import BundleError, RunError
from pepr_edge.recipe import FLOAT32
from pepr_edge.recipe.settings import settings_line
from pepr_edge.recipe.toml import as_toml
from pepr_edge.records import (
    DataFacts,
    DataInfo,
    Decision,
    Fallback,
    Form,
    Manifest,
    Ranking,
    RankingRow,
    Seeds,
    SelfTestSpec,
    TensorSpec,
    TrainResult,
)
from pepr_edge.run_dir.decisions import DecidedVariant, decide_for
from pepr_edge.run_dir.layout import MODEL
from pepr_edge.run_dir.owned import is_os_metadata, replace_tree, staging_folder
from pepr_edge.run_dir.reader import MeasuredVariant, Results, VariantState
from pepr_edge.run_dir.store import sha256_file, write_bytes, write_record, write_text
from pepr_edge.scoring.fair_cost import charged
from pepr_edge.scoring.metrics import confusion
from pepr_edge.scoring.rule import rule_of
from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import Signer
from pepr_edge.tasks import decide_by
from pepr_edge.untrusted.files import MANIFEST_BYTES, content


def write_bundles(
    results: Results, ranking: Ranking, out: Path, top: int | None = None, signer: Signer | None = None
) -> Ranking:
    """Write the best `top` ranked models (None: all) as bundles into a folder. Bundles there are replaced.

    Args:
        results, ranking: of the run.
        out: the folder.
        top: number of models.
        signer: signs each bundle's manifest; None: nobody does.
    Returns:
        The ranking, each row with the name of its bundle's folder.
    Raises:
        RunError: `out` holds anything but bundles, or the run has changed since the ranking was made.
    """
    out = out.resolve()
    check_bundles(out)
    with staging_folder(out) as staging:
        rows = _write_ranked(results, ranking, staging, out.name, top)
        if signer is not None:
            for bundle in staging.iterdir():
                _sign(bundle, signer)
        _replace(staging, out)
    return ranking.model_copy(update={"rows": tuple(rows)})


def _sign(bundle: Path, signer: Signer) -> None:
    text = content(bundle / MANIFEST, MANIFEST_BYTES)
    write_bytes(bundle / SIGNATURE, signatures.sign(text, signer, signatures.MANIFEST))


def _write_ranked(
    results: Results, ranking: Ranking, staging: Path, out_name: str, top: int | None
) -> list[RankingRow]:
    """Write the bundles into a folder, and return the ranking's rows, each with the name of its bundle."""
    rows = []
    for row in ranking.rows:
        bundle = None
        if row.rank is not None and (top is None or row.rank <= top):
            name = f"{row.rank:02d}-{row.candidate}-{row.variant}"
            _write_row(results, ranking, row, staging / name)
            bundle = f"{out_name}/{name}"
        rows.append(row.model_copy(update={"bundle": bundle}))
    return rows


def _write_row(results: Results, ranking: Ranking, row: RankingRow, folder: Path) -> None:
    for entry in results.entries:
        if entry.candidate.id != row.candidate or entry.variant != row.variant:
            continue
        if entry.measured is not None and entry.measured.artifact.sha256 == row.artifact_sha256:
            write_bundle(entry, entry.measured, row, ranking, results, folder)
            return
    raise _changed_error(results, folder)


def _changed_error(results: Results, folder: Path) -> RunError:
    return RunError(
        f"{results.folder}: changed since its ranking was made ({folder.name}). "
        "Run `pepr-edge run` on it again."
    )


def check_bundles(out: Path) -> None:
    """Refuse a folder for bundles that holds anything but whole bundles, since those are replaced.

    Raises:
        RunError: it is a file, or holds something else, also inside a bundle. Nothing was touched.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"{out}: a file, expected a folder that is new or empty. Give another --out.")
    for path in sorted(out.iterdir()):
        if is_os_metadata(path):
            continue
        if path.is_symlink() or not (path / MANIFEST).is_file():
            raise RunError(
                f"{out}: holds {path.name!r}, which is no bundle. Give an --out that is empty or new."
            )
        other = _other_file(path)
        if other is not None:
            raise RunError(
                f"{path}: {other!r} was added or changed after the export, and would be lost. "
                "Move it, or the whole bundle, to another folder."
            )


def _other_file(bundle: Path) -> str | None:
    """Return the name of a file in a bundle's folder that was added or changed, or None."""
    try:
        files = read_manifest(bundle).files
    except BundleError:
        return MANIFEST
    for path in sorted(bundle.iterdir()):
        if path.name == MANIFEST or is_os_metadata(path):
            continue
        if path.name == SIGNATURE and is_signed(bundle):
            continue
        if path.is_symlink() or not path.is_file() or sha256_file(path) != files.get(path.name):
            return path.name
    return None


def _replace(staging: Path, out: Path) -> None:
    """Replace the bundles in `out`, which `check_bundles` has found whole, by new ones; file by file."""
    check_bundles(out)  # again: making the new bundles takes minutes
    old = []
    for bundle in out.iterdir() if out.exists() else ():
        if bundle.is_dir():
            names = [*read_manifest(bundle).files, MANIFEST]
            if is_signed(bundle):
                names.append(SIGNATURE)
            old += [f"{bundle.name}/{name}" for name in names]
    replace_tree(staging, out, old, MANIFEST)


def write_bundle(
    entry: VariantState,
    measured: MeasuredVariant,
    row: RankingRow,
    ranking: Ranking,
    results: Results,
    folder: Path,
) -> None:
    """Write one bundle.

    Args:
        entry: the model.
        measured: its records.
        row: of the model in the ranking.
        ranking, results: of the run.
        folder: of the bundle, which is created.
    Raises:
        RunError: a model's file was changed since the ranking was made.
    """
    folder.mkdir()
    spec = measured.trained.preprocess
    has_fallback = _copy_models(entry, measured, results, folder)
    decided = decide_for(results, entry)
    of_fallback = _fallback_decision(entry, results) if has_fallback else None
    labels = results.info.data.labels
    rules = rule_of(decided.decision, labels), rule_of(of_fallback, labels)
    test = write_selftest(folder, spec, measured.profile.settings, has_fallback, results, rules)
    architecture = measured.trained.candidate.architecture
    _write_json(folder / "preprocessor_config.json", hub_preprocessor(spec))
    fallback = (
        Fallback(file=FALLBACK, variant=FLOAT32, selftest=test, decision=of_fallback)
        if has_fallback
        else None
    )
    manifest = _manifest(entry, measured, row, ranking, results, test, fallback, decided)
    config = hub_config(architecture, manifest.labels, decisions_of(manifest), manifest.task)
    _write_json(folder / "config.json", config)
    # The card is made from the manifest, and the manifest holds the card's checksum: the card first.
    others = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    table = _confusion(entry, decided.decision, labels)
    card = model_card(manifest.replace(files=others), results.info.data, table)
    write_text(folder / "MODEL_CARD.md", card)
    files = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    write_record(folder / MANIFEST, manifest.model_copy(update={"files": files}))


def _confusion(
    entry: VariantState, decision: Decision | None, labels: Sequence[str]
) -> NDArray[np.int64] | None:
    """Return the confusion matrix of the test images as the file decides; None for several findings."""
    rule = rule_of(decision, labels)
    if rule.kind == "multilabel":
        return None
    predictions = entry.predictions()
    decisions = decide_by(predictions["test"], rule)
    return confusion(decisions, predictions["test_labels"].astype(np.int64), len(labels))


def _manifest(
    entry: VariantState,
    measured: MeasuredVariant,
    row: RankingRow,
    ranking: Ranking,
    results: Results,
    test: SelfTestSpec,
    fallback: Fallback | None,
    decided: DecidedVariant,
) -> Manifest:
    """Return the manifest of a bundle, without the checksums of its files."""
    assert row.rank is not None
    trained = measured.trained
    spec = trained.preprocess
    labels = results.info.data.labels
    as_trained = Form(trained_params=trained.num_params, deployed_params=trained.num_params)
    form = measured.artifact.form or as_trained
    image_shape = (spec.channels, spec.image_size_px, spec.image_size_px)
    return Manifest(
        architecture=trained.candidate.architecture,
        variant=measured.artifact.variant,
        image_size_px=spec.image_size_px,
        num_params=form.deployed_params,
        form=form,
        task=results.info.data.kind,
        labels=labels,
        preprocess=spec,
        input=TensorSpec(name="pixel_values", shape=(-1, *image_shape)),
        output=TensorSpec(name="logits", shape=(-1, len(labels))),
        novelty=TensorSpec(name="novelty", shape=(-1, 1)) if _has_novelty(decided.decision) else None,
        performance=measured.artifact.performance | decided.performance,
        performance_metric=ranking.performance_metric,
        train_cost=charged(trained.cost, trained.teacher),
        profile=entry.full_profile or measured.profile,
        pepr=row.pepr,
        subgroups=row.subgroups,
        rank=row.rank,
        bounds=ranking.bounds,
        set_id=ranking.set_id,
        selftest=test,
        fallback=fallback,
        seeds=_seeds(row),
        quality=measured.artifact.quality,
        decision=decided.decision,
        findings=decided.findings,
        data=data_facts(results.info.data),
        about=results.recipe.about.record(),
        provenance=provenance(results, measured),
        files={},
    )


def _has_novelty(decision: Decision | None) -> bool:
    return decision is not None and decision.refer is not None and decision.refer.max_novelty is not None


def _fallback_decision(entry: VariantState, results: Results) -> Decision | None:
    float32 = results.float32(entry.candidate)
    assert float32 is not None  # it is the fallback
    return decide_for(results, float32).decision


def _seeds(row: RankingRow) -> Seeds | None:
    """Return what all seeds of a model's training reach; None for one training."""
    if row.repeats < 2:
        return None
    return Seeds(
        count=row.repeats,
        val_mean=row.performance,
        val_sd=row.performance_sd,
        test_mean=row.test_performance_mean,
        test_sd=row.test_performance_sd,
    )


def _copy_models(entry: VariantState, measured: MeasuredVariant, results: Results, folder: Path) -> bool:
    """Copy the model, and its float32 file as a fallback if there is one. Return True if there is.

    Raises:
        RunError: a file was changed since the ranking was made.
    """
    models = {MODEL: (entry.folder, measured.artifact)}
    float32 = results.float32(entry.candidate)
    if float32 is not None and float32.artifact is not None and not _needs_no_fallback(measured):
        models[FALLBACK] = (float32.folder, float32.artifact)
    for name, (source, artifact) in models.items():
        shutil.copyfile(source / MODEL, folder / name)
        if sha256_file(folder / name) != artifact.sha256:
            raise _changed_error(results, folder)
    return FALLBACK in models


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_text(path, json.dumps(document, indent=1) + "\n")


def initial_weights(results: Results, trained: TrainResult) -> dict[str, str] | None:
    """Return what a training began with; None if the run directory does not say it (version 0.1)."""
    found = results.info.weights.get(trained.candidate.id)
    if found is None:
        return None
    facts = {
        "kind": found.kind,
        "name": found.name,
        "licence": found.licence,
        "sha256": found.sha256 or "",
        "reason": found.reason,
        "assigned_by": trained.weights_match,
        "notes": "; ".join(trained.weights_notes),
    }
    return {name: value for name, value in facts.items() if value}


def data_facts(data: DataInfo) -> DataFacts:
    """Return what the manifest says of the data."""
    return DataFacts(**data.model_dump(include=set(DataFacts.model_fields)))


def training_facts(results: Results, trained: TrainResult) -> dict[str, str]:
    """Return how a model was trained, in the words of the recipe."""
    settings = results.recipe.train
    return {
        "mode": trained.mode,
        "epochs": str(len(trained.epochs)),
        "selected_epoch": str(trained.best_epoch),
        "batch_size": str(settings.batch_size),
        "learning_rate": f"{settings.learning_rate:g}",
        "weight_decay": f"{settings.weight_decay:g}",
        "augment": settings.augment,
        "flips": as_toml(settings.flips),
        "class_balanced": as_toml(settings.class_balanced),
    }


def provenance(results: Results, measured: MeasuredVariant) -> dict[str, Any]:
    """Return the origin of a model: versions, seed, the hashes of data and checkpoint."""
    trained = measured.trained
    artifact = measured.artifact
    settings = results.info.settings
    return {
        "recipe": results.recipe.name,
        "settings_from_images": None if settings is None else settings_line(settings),
        "data": results.info.data.name,
        "data_sha256": results.info.data.sha256,
        "checkpoint_sha256": trained.checkpoint_sha256,
        "seed": trained.seed,
        "protocol": trained.protocol,
        "weights": trained.candidate.weights,
        "initial_weights": initial_weights(results, trained),
        "training": training_facts(results, trained),
        "teacher": None if trained.teacher is None else trained.teacher.candidate,
        "exporter": artifact.exporter,
        "producer": artifact.producer,
        "opset": artifact.opset,
        "commit": results.info.commit,
        "versions": {"pepr_edge": results.info.pepr_edge, **trained.environment.versions},
    }


def _needs_no_fallback(measured: MeasuredVariant) -> bool:
    """True if a model is float32 and runs with onnxruntime on the CPU: then it needs no fallback."""
    settings = measured.profile.settings
    runs_on = (settings.runtime, settings.provider, settings.precision)
    return measured.artifact.variant == FLOAT32 and runs_on == ("onnxruntime", "cpu", "float32")
