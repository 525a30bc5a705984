"""CLAIM, the checklist for artificial intelligence in medical imaging, 2024 update.

Source: Tejani et al. 2024, Radiology: Artificial Intelligence 6(4), e240300. The items are paraphrased.
"""

from __future__ import annotations

from pepr_edge.dossier import facts
from pepr_edge.dossier.checklists import Checklist, Item, about, not_said, unknown
from pepr_edge.records import Manifest
from pepr_edge.text.units import MISSING
from pepr_edge.untrusted.shown import shown


def _technology(manifest: Manifest) -> str:
    return f"Image classification by a neural network: {facts.network(manifest)}"


def _images_in_the_bundle(manifest: Manifest) -> str:
    number = manifest.selftest.real_images
    return (
        f"The bundle itself holds {number} images of the data."
        if number
        else "The bundle holds no image of the data."
    )


def _no_ensemble(manifest: Manifest) -> str:
    return "None: one model decides."


def _uncertainty(manifest: Manifest) -> str | None:
    return "A 95 % interval for each figure." if manifest.performance else None


def _technical_details(manifest: Manifest) -> str:
    recipe = shown(str(manifest.provenance.get("recipe", MISSING)))
    commit = manifest.provenance.get("commit")
    source = f", commit {shown(str(commit))}" if commit else ""
    version = facts.versions(manifest).get("pepr_edge", MISSING)
    return f"Recipe {recipe} of pepr_edge {version}{source}; manifest.json and MODEL_CARD.md in the bundle."


def _availability(manifest: Manifest) -> str:
    licence = facts.said(manifest, "licence")
    terms = f"licence {licence}" if licence else not_said("licence")
    return f"Model: sha256 {manifest.files['model.onnx']}, {terms}."


def _limits(manifest: Manifest) -> str:
    return " ".join(facts.limits(manifest))


def _practice(manifest: Manifest) -> str | None:
    warning = facts.said(manifest, "do_not_use_when")
    return facts.joined(
        (
            facts.said(manifest, "intended_use"),
            facts.said(manifest, "setting"),
            f"Do not use when: {warning}" if warning else None,
        )
    )


CLAIM = Checklist(
    name="CLAIM 2024",
    file="claim_2024",
    source="Tejani et al. 2024, Radiology: Artificial Intelligence 6(4), e240300; paraphrased.",
    items=(
        Item(
            "1",
            "Title",
            "Names the study as one of AI, and its kind of technology",
            _technology,
            "the title is yours",
        ),
        Item(
            "2",
            "Abstract",
            "Summary of design, methods, results and conclusions",
            unknown,
            "the bundle holds one model, not your study",
        ),
        Item(
            "3",
            "Introduction",
            "Background, with intended use and role of the model",
            about("intended_use"),
            "background and references",
        ),
        Item(
            "4",
            "Introduction",
            "Aims and hypotheses",
            unknown,
            "the bundle does not know what your study asks",
        ),
        Item(
            "5",
            "Study design",
            "Prospective or retrospective",
            unknown,
            "the bundle holds no dates and no study plan",
        ),
        Item(
            "6", "Study design", "Goal of the study", unknown, "the bundle does not know what your study asks"
        ),
        Item(
            "7",
            "Data",
            "Sources of the data",
            facts.data_source,
            "where and when the data were collected, as the manifest has name and hash only",
        ),
        Item(
            "8",
            "Data",
            "Criteria for inclusion and exclusion",
            about("inclusion"),
            without=not_said("inclusion"),
        ),
        Item("9", "Data", "Preprocessing", facts.preprocessing),
        Item(
            "10",
            "Data",
            "Selection of subsets",
            facts.left_out,
            "any selection before the images came to pepr_edge",
        ),
        Item(
            "11",
            "Data",
            "De-identification",
            _images_in_the_bundle,
            "how the images were de-identified before they came to pepr_edge",
        ),
        Item(
            "12",
            "Data",
            "Missing data",
            facts.left_out,
            "data that were missing before the images came to pepr_edge",
        ),
        Item(
            "13",
            "Data",
            "Protocol of image acquisition",
            about("acquisition"),
            without=not_said("acquisition"),
        ),
        Item(
            "14",
            "Reference standard",
            "How it was obtained",
            about("reference_standard"),
            without=not_said("reference_standard"),
        ),
        Item(
            "15",
            "Reference standard",
            "Why this one was chosen",
            unknown,
            "the bundle does not know the alternatives",
        ),
        Item(
            "16",
            "Reference standard",
            "Who annotated, from what",
            unknown,
            "the bundle has labels, not their authors",
        ),
        Item(
            "17",
            "Reference standard",
            "Annotation of the test images",
            unknown,
            "the bundle has labels, not their authors",
        ),
        Item(
            "18",
            "Reference standard",
            "Variability within and between raters",
            unknown,
            "the bundle has the labels as they were given, not those of single raters",
        ),
        Item(
            "19",
            "Data partitions",
            "How images were assigned to the partitions",
            facts.splits,
            "the rule, if the splits came with the data",
        ),
        Item(
            "20",
            "Data partitions",
            "Level at which the partitions are disjoint",
            unknown,
            "whether splits share patients: pepr-edge data check looks, the manifest does not say it",
        ),
        Item("21", "Test data", "Intended sample size", facts.test_images, "why this number is enough"),
        Item("22", "Model", "Description of the model", facts.network, "a reference for the architecture"),
        Item("23", "Model", "Software and its versions", facts.software),
        Item("24", "Model", "Initial parameters", facts.initial_weights),
        Item("25", "Training", "Training, with augmentation and hyperparameters", facts.training),
        Item("26", "Training", "Choice of the final model", facts.selection),
        Item("27", "Training", "Ensembles", _no_ensemble),
        Item(
            "28", "Evaluation", "Metrics of performance", facts.metric_names, "why these suit your question"
        ),
        Item("29", "Evaluation", "Statistical significance and uncertainty", _uncertainty),
        Item(
            "30",
            "Evaluation",
            "Robustness or sensitivity",
            facts.robustness,
            "robustness to scanners, artefacts and populations, which is not measured",
        ),
        Item(
            "31",
            "Evaluation",
            "Explainability or interpretability",
            unknown,
            "pepr_edge makes no explanations",
        ),
        Item("32", "Evaluation", "Evaluation on internal data", facts.test_images),
        Item(
            "33",
            "Evaluation",
            "Test on external data",
            unknown,
            "the manifest holds figures of one dataset; pepr-edge evaluate makes those of another",
        ),
        Item("34", "Evaluation", "Registration of a clinical trial", unknown, "the bundle knows of no trial"),
        Item(
            "35",
            "Results: data",
            "Patients or examinations included and excluded",
            facts.image_counts,
            "numbers of patients and examinations, as the manifest counts images",
        ),
        Item(
            "36",
            "Results: data",
            "Characteristics of the cases in each partition",
            facts.subgroups,
            "features of the patients, as the manifest holds none but the groups that the recipe names",
        ),
        Item("37", "Results: performance", "Performance with its uncertainty", facts.test_figures),
        Item(
            "38",
            "Results: performance",
            "Diagnostic performance with its precision",
            facts.at_decision,
            without="the bundle has no figures at a stored decision",
        ),
        Item(
            "39",
            "Results: performance",
            "Analysis of wrong results",
            unknown,
            "the manifest holds no single image and no single decision",
        ),
        Item("40", "Discussion", "Limitations", _limits, "limitations of your study"),
        Item(
            "41",
            "Discussion",
            "Implications for practice, with intended use",
            _practice,
            "what follows for practice",
        ),
        Item(
            "42",
            "Other information",
            "Full protocol or technical details",
            _technical_details,
            "the protocol of your study",
        ),
        Item(
            "43",
            "Other information",
            "Availability of software, model and data",
            _availability,
            "where software, model and data are to be had",
        ),
        Item(
            "44",
            "Other information",
            "Funding, and the role of funders",
            unknown,
            "the bundle knows of no funding",
        ),
    ),
)
