"""TRIPOD+AI, the checklist for prediction models that use regression or machine learning.

Source: Collins et al. 2024, BMJ 385, e078378. The items are paraphrased.
"""

from __future__ import annotations

from pepr_edge.dossier import facts
from pepr_edge.dossier.checklists import Checklist, Item, about, not_said, unknown
from pepr_edge.records import Manifest
from pepr_edge.text.sentences import plural_of
from pepr_edge.text.units import MISSING, capitalised
from pepr_edge.untrusted.shown import shown


def _title(manifest: Manifest) -> str:
    return f"Development and internal test of a neural network for {facts.labels(manifest)} in images."


def _outcome(manifest: Manifest) -> str:
    standard = facts.said(manifest, "reference_standard")
    kinds = capitalised(plural_of(manifest.kind))
    return f"{kinds}: {facts.labels(manifest)}." + (f" {standard}" if standard else "")


def _predictors(manifest: Manifest) -> str:
    kind = "grey" if manifest.preprocess.channels == 1 else "colour"
    size = manifest.image_size_px
    acquisition = facts.said(manifest, "acquisition")
    return f"The pixels of one {kind} image, {size} x {size}." + (f" {acquisition}" if acquisition else "")


def _building(manifest: Manifest) -> str | None:
    return facts.joined((facts.network(manifest), facts.training(manifest), facts.selection(manifest)))


def _calculation(manifest: Manifest) -> str:
    rule = facts.decision_rule(manifest) or "The class of the highest logit is named."
    return f"pepr-edge predict on the ONNX file in the bundle. {rule}"


def _imbalance(manifest: Manifest) -> str | None:
    training = manifest.provenance.get("training")
    if not isinstance(training, dict) or "class_balanced" not in training:
        return None
    if training["class_balanced"] == "true":
        return (
            "All classes count equally in the loss. Probabilities were calibrated afterwards."
            if manifest.decision
            else "All classes count equally in the loss."
        )
    return "Not addressed: each image counts equally in the loss."


def _same_source(manifest: Manifest) -> str:
    return f"Training and test images come from one source: {facts.data_source(manifest)}"


def _specification(manifest: Manifest) -> str:
    model = f"The whole model is in the bundle: model.onnx, sha256 {manifest.files['model.onnx']}."
    return f"{model} {facts.preprocessing(manifest)}"


def _code(manifest: Manifest) -> str:
    version = facts.versions(manifest).get("pepr_edge", MISSING)
    commit = manifest.provenance.get("commit")
    source = f", commit {shown(str(commit))}" if commit else ""
    return f"Made with pepr_edge {version}{source}, which is open source (MIT)."


def _limits(manifest: Manifest) -> str:
    return " ".join(facts.limits(manifest))


TRIPOD = Checklist(
    name="TRIPOD+AI",
    file="tripod_ai",
    source="Collins et al. 2024, BMJ 385, e078378; paraphrased.",
    items=(
        Item(
            "1",
            "Title",
            "Names development or evaluation, population and outcome",
            _title,
            "the title is yours",
        ),
        Item("2", "Abstract", "Structured summary", unknown, "the bundle holds one model, not your study"),
        Item(
            "3a",
            "Introduction",
            "Medical context and reasons, with existing models",
            unknown,
            "the bundle does not know the medical context",
        ),
        Item(
            "3b",
            "Introduction",
            "Population, purpose in the care pathway, and users",
            facts.use,
            without=f"{not_said('intended_use')}, nor population or setting",
        ),
        Item(
            "3c",
            "Introduction",
            "Known inequalities between groups of people",
            unknown,
            "the bundle does not know the medical context",
        ),
        Item("4", "Introduction", "Objectives", unknown, "the bundle does not know what your study asks"),
        Item(
            "5a",
            "Data",
            "Sources, and how representative they are",
            facts.data_source,
            "why these data, and whom they represent",
        ),
        Item("5b", "Data", "Dates of collection", unknown, "the bundle holds no dates of the data"),
        Item(
            "6a",
            "Participants",
            "Setting, number and place of centres",
            about("setting"),
            "number and place of centres",
        ),
        Item(
            "6b", "Participants", "Criteria of eligibility", about("inclusion"), without=not_said("inclusion")
        ),
        Item("6c", "Participants", "Treatments", unknown, "the bundle knows of no treatments"),
        Item(
            "7",
            "Data preparation",
            "Preprocessing and checks of quality",
            facts.preprocessing,
            "preparation before the images came to pepr_edge",
        ),
        Item(
            "8a",
            "Outcome",
            "Definition, and how it is assessed",
            _outcome,
            "when and how it was assessed, and whether alike for all groups",
        ),
        Item(
            "8b",
            "Outcome",
            "Who assessed it, with which qualification",
            unknown,
            "the bundle has labels, not their authors",
        ),
        Item(
            "8c",
            "Outcome",
            "Whether assessors knew the predictors",
            unknown,
            "the bundle has labels, not their authors",
        ),
        Item("9a", "Predictors", "Choice of predictors", _predictors, "why images of this kind"),
        Item(
            "9b", "Predictors", "Definition and measurement", _predictors, "when they were taken, and by whom"
        ),
        Item(
            "9c",
            "Predictors",
            "Who assessed those that need judgement",
            unknown,
            "whether a person chose or cropped the images",
        ),
        Item("10", "Sample size", "How it was determined", facts.image_counts, "why this number is enough"),
        Item(
            "11",
            "Missing data",
            "How they were handled",
            facts.left_out,
            "data that were missing before the images came to pepr_edge",
        ),
        Item(
            "12a",
            "Analysis",
            "Use and partition of the data",
            facts.splits,
            "the rule, if the splits came with the data",
        ),
        Item("12b", "Analysis", "Handling of predictors", facts.preprocessing),
        Item(
            "12c",
            "Analysis",
            "Type of model, building, tuning, internal validation",
            _building,
            "why this type of model",
        ),
        Item(
            "12d",
            "Analysis",
            "Differences between clusters, such as hospitals",
            unknown,
            "the manifest knows centres only if the recipe names them as subgroups",
        ),
        Item(
            "12e",
            "Analysis",
            "Measures and plots of performance",
            facts.metric_names,
            "why these suit your question; figures are in the report of the run",
        ),
        Item(
            "12f",
            "Analysis",
            "Updating of the model",
            unknown,
            "the bundle does not know of an update; dossier --against compares two bundles",
        ),
        Item("12g", "Analysis", "How predictions are calculated", _calculation),
        Item("13", "Class imbalance", "Methods, and recalibration", _imbalance),
        Item(
            "14",
            "Fairness",
            "How fairness was addressed",
            facts.subgroups,
            "what was done about it: the manifest has figures of the groups that the recipe names, at most",
        ),
        Item(
            "15",
            "Model output",
            "Probability or class, and the threshold",
            facts.decision_rule,
            without="the bundle is of an earlier version, without a stored decision",
        ),
        Item(
            "16",
            "Training and evaluation",
            "Differences between both",
            _same_source,
            "differences in time or place within that source",
        ),
        Item("17", "Ethics", "Approval and consent", unknown, "the bundle knows of no approval"),
        Item("18a", "Open science", "Funding", unknown, "the bundle knows of no funding"),
        Item("18b", "Open science", "Conflicts of interest", unknown, "the bundle does not know the authors"),
        Item("18c", "Open science", "Protocol", unknown, "the bundle knows of no protocol"),
        Item("18d", "Open science", "Registration", unknown, "the bundle knows of no registration"),
        Item(
            "18e",
            "Open science",
            "Availability of the data",
            unknown,
            "the manifest has their hash, not their place",
        ),
        Item("18f", "Open science", "Availability of the code", _code, "the code of your own analysis"),
        Item("19", "Patients and public", "Involvement", unknown, "the bundle knows of none"),
        Item(
            "20a",
            "Results: participants",
            "Flow of participants, with outcomes",
            facts.image_counts,
            "participants, as the manifest counts images",
        ),
        Item(
            "20b",
            "Results: participants",
            "Characteristics",
            unknown,
            "the manifest holds no feature of patients but the groups that the recipe names",
        ),
        Item(
            "20c",
            "Results: participants",
            "Comparison of training and evaluation data",
            unknown,
            "the manifest holds no feature of patients but the groups that the recipe names",
        ),
        Item(
            "21",
            "Results: development",
            "Participants and outcomes in each analysis",
            facts.image_counts,
            "participants, as the manifest counts images",
        ),
        Item("22", "Results: specification", "The whole model, so that others can use it", _specification),
        Item(
            "23a",
            "Results: performance",
            "Performance with intervals, also of groups",
            facts.all_figures,
            "performance of groups that the recipe does not name",
        ),
        Item(
            "23b",
            "Results: performance",
            "Differences between clusters",
            unknown,
            "the manifest knows centres only if the recipe names them as subgroups",
        ),
        Item(
            "24",
            "Results: updating",
            "The updated model and its performance",
            unknown,
            "the bundle does not know of an update; dossier --against compares two bundles",
        ),
        Item("25", "Discussion", "Interpretation, with fairness", unknown, "the interpretation is yours"),
        Item("26", "Discussion", "Limitations", _limits, "limitations of your study"),
        Item(
            "27a",
            "Discussion",
            "Inputs of poor quality or that are missing",
            facts.refusals,
            "what users are to do then",
        ),
        Item(
            "27b",
            "Discussion",
            "Whether users interact, and what they must know",
            about("intended_use"),
            "what users must know",
        ),
        Item("27c", "Discussion", "Next steps", unknown, "the next steps are yours"),
    ),
)
