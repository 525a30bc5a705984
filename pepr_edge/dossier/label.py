"""The model-facts label: what a clinic must know of a model, on one page of A4.

After Sendak et al. 2020, npj Digital Medicine 3:41: "Presenting machine learning model information to
clinical end users with model facts labels".
"""

from __future__ import annotations

from collections.abc import Iterator

from pepr_edge.dossier import facts
from pepr_edge.dossier.page import definitions, page, table, text
from pepr_edge.records import Estimate, Manifest
from pepr_edge.scoring.operating_point import predictive_values
from pepr_edge.scoring.percentiles import percentiles
from pepr_edge.text.sentences import plural_of
from pepr_edge.text.units import MISSING, count, metric, mib, ms, performance, score, significant
from pepr_edge.untrusted.shown import EXCERPT_CHARACTERS, shown

# A statement on the page: all of them, and the figures, must fit on one. The whole text is in the checklists.
STATEMENT_CHARACTERS = 230
MAX_FIGURES = 9
# Shares of positive images for which predictive values are given.
PREVALENCES = (0.01, 0.05, 0.2)
TO_FILL_IN = "to be filled in by you: not in [about] of the recipe"
TITLE = "Model facts"
STYLE = """
.facts { columns: 2; column-gap: 16px; margin-top: 14px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px;
  margin: 0 0 14px; break-inside: avoid; }
section.warn { background: var(--warn); border-left: 4px solid var(--warn-line); }
dl { margin: 0; }
dt { font-weight: 600; }
dd { margin: 0 0 5px; }
ul { margin: 0; padding-left: 20px; }
td { font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
@media (max-width: 700px) {
  .facts { columns: 1; }
  h1 { font-size: 1.25rem; }
  table { font-size: .8125rem; }
}
@page { size: A4; margin: 10mm; }
@media print {
  body { font-size: 8.4px; line-height: 1.3; }
  h1 { font-size: 15px; }
  h2 { font-size: 10px; margin: 0 0 3px; }
  header { padding-top: 0; }
  p, dd { margin-bottom: 2px; }
  .facts { columns: 2; column-gap: 8px; margin-top: 6px; }
  section { padding: 5px 7px; margin: 0 0 6px; border-radius: 4px; }
  table { font-size: 8.2px; }
  caption { padding-bottom: 2px; }
  th, td { padding: 1px 5px 1px 0; }
  ul { padding-left: 12px; }
  footer { padding: 4px 0 0; font-size: 7.5px; }
}
"""


def label(manifest: Manifest) -> str:
    """Return the page as HTML."""
    name = facts.model_name(manifest)
    title = f"{TITLE}: {name}"
    summary = (
        f"A neural network that {_answers(manifest)}: {facts.labels(manifest)}. "
        "For research, and for trials in which a person who can judge the images checks every result. "
        "Not a medical device."
    )
    body = [
        f"<header><h1>{text(title)}</h1><p>{text(summary)}</p></header>",
        '<main><div class="facts">',
        *(_section(heading, content, kind) for heading, content, kind in _sections(manifest)),
        "</div></main>",
        f"<footer>{text(_footer(manifest))}</footer>",
    ]
    return page(title, STYLE, body)


def _answers(manifest: Manifest) -> str:
    """Return what the model does with an image."""
    labels = f"{len(manifest.labels)} {plural_of(manifest.kind)}"
    if manifest.kind == "multilabel":
        return f"says for each of {labels} whether an image shows it"
    return f"names one of {labels} for an image"


def _sections(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """Yield heading, HTML and class of each section."""
    yield "Intended use", _statements(manifest, ("intended_use", "population", "setting")), ""
    warning = _statement(manifest, "do_not_use_when")
    items = "".join(f"<li>{text(limit)}</li>" for limit in facts.limits(manifest))
    yield "Warnings", definitions([("Do not use when", warning)], TO_FILL_IN) + f"<ul>{items}</ul>", "warn"
    yield "How it decides", _decision(manifest), ""
    yield "Performance on test images", _performance(manifest), ""
    yield "Data", _data(manifest), ""
    yield "On the device", _device(manifest), ""
    yield "Training", _training(manifest), ""
    yield "Responsible", _statements(manifest, ("version", "review_date", "contact", "licence")), ""
    yield "Identity", _identity(manifest), ""


def _section(heading: str, content: str, kind: str) -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<section{attribute}><h2>{text(heading)}</h2>{content}</section>"


def _statement(manifest: Manifest, name: str) -> str | None:
    value = facts.said(manifest, name)
    if value is None or len(value) <= STATEMENT_CHARACTERS:
        return value
    return f"{value[:STATEMENT_CHARACTERS].rsplit(' ', 1)[0]} ... (the whole text is in checklists.html)"


def _statements(manifest: Manifest, names: tuple[str, ...]) -> str:
    return definitions([(_title(name), _statement(manifest, name)) for name in names], TO_FILL_IN)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _decision(manifest: Manifest) -> str:
    rule = facts.decision_rule(manifest)
    if rule is None:
        rule = "The class of the highest logit is named; the bundle stores no threshold."
    return f"<p>{text(rule)}</p><p>{text(facts.refusals(manifest))}</p>"


def _performance(manifest: Manifest) -> str:
    figures = facts.figures(manifest, "test")
    rows = [
        (name, performance(value.value, value.ci), count(value.n)) for name, value in figures[:MAX_FIGURES]
    ]
    if not rows:
        return f"<p>{text(MISSING)}</p>"
    caption = "Value with its 95 % interval."
    if manifest.decision is not None and manifest.decision.threshold is not None:
        caption += " Accuracy, balanced accuracy, F1 and kappa take the more probable class."
    if len(figures) > MAX_FIGURES:
        caption += f" {len(figures) - MAX_FIGURES} more are in checklists.html."
    return table(caption, ("figure", "value", "images"), rows) + _prevalences(manifest) + _baseline(manifest)


def _baseline(manifest: Manifest) -> str:
    baseline = facts.majority_baseline(manifest)
    if baseline is None:
        return ""
    share = score(baseline)
    return f"<p>{text(f'Always naming the most frequent class has accuracy {share}.')}</p>"


def _prevalences(manifest: Manifest) -> str:
    """Return the predictive values where the finding is rarer or more frequent than in the test images."""
    found: list[Estimate | None] = [
        manifest.performance.get(f"{name}_at_decision") for name in ("sensitivity", "specificity")
    ]
    sensitivity, specificity = found
    if sensitivity is None or specificity is None:
        return ""
    texts = []
    for prevalence in PREVALENCES:
        ppv, npv = predictive_values(sensitivity.value, specificity.value, prevalence)
        texts.append(f"{100 * prevalence:g} %: positive {score(ppv)}, negative {score(npv)}")
    return f"<p>Predictive values if this share of images is positive: {text('; '.join(texts))}.</p>"


def _data(manifest: Manifest) -> str:
    items: list[tuple[str, str | None]] = [("Source", facts.data_source(manifest))]
    counted = facts.image_counts(manifest)
    if counted is not None:
        items.append(("Images", counted.removeprefix("Images: ")))
    items += [
        (_title(name), _statement(manifest, name))
        for name in ("reference_standard", "acquisition", "inclusion")
    ]
    return definitions(items, TO_FILL_IN)


def _device(manifest: Manifest) -> str:
    profile = manifest.profile
    latency = percentiles(profile.latencies_s)
    joules = profile.energy_j_per_inference.value
    spent = (
        MISSING if joules is None else f"{significant(joules)} J ({profile.energy_j_per_inference.method})"
    )
    items = (
        ("Measured on", facts.device(manifest)),
        ("Latency", f"p50 {ms(latency.p50)}, p90 {ms(latency.p90)}, {profile.rules} rules"),
        ("Peak memory; energy per image", f"{mib(profile.peak_memory_bytes)}; {spent}"),
        ("Validity", "VALID" if profile.validity.valid else "INVALID"),
    )
    return definitions(items, MISSING)


def _training(manifest: Manifest) -> str:
    items = (
        ("Cost", facts.training_cost(manifest)),
        ("Begun with", facts.initial_weights(manifest)),
        ("Choice", facts.selection(manifest)),
    )
    return definitions(items, "not in the bundle")


def _identity(manifest: Manifest) -> str:
    made = manifest.provenance.get("recipe", MISSING)
    version = facts.versions(manifest).get("pepr_edge", MISSING)
    items = (
        ("Model", facts.network(manifest)),
        ("model.onnx, sha256", manifest.files["model.onnx"]),
        ("Made by", f"recipe {shown(str(made), EXCERPT_CHARACTERS)}, pepr_edge {version}"),
    )
    return definitions(items, MISSING)


def _footer(manifest: Manifest) -> str:
    name = shown(metric(manifest.performance_metric))
    return (
        "Every figure is from the manifest of the bundle; statements on use and data are those of its makers "
        f"and unchecked. The run ranked its models by {name}. See checklists.html and ml-bom.cdx.json."
    )
