"""The claims of the PePR paper, each with a verdict from its published results.

The claims are in our words. They repeat a figure of the paper only if its Table 1, its plotting script or its
notebook shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from paper_data import EXPERIMENTS, Experiment, mean, p_value, rank_correlation, split_test, t_test
from paper_table1 import TOLERANCE, Row

from pepr_edge.scoring.robustness import best
from pepr_edge.text.units import listed

ALPHA = 0.05
LETTERS = {"train_co2eq": "C", "train_time": "T", "train_memory": "M"}
# The five best by PePR-E, and their scores, which the authors' notebook prints for each experiment.
# Source: results_table.ipynb of the authors' repository.
NOTEBOOK = {
    "derma_pt": {
        "ghostnet_100": 0.8348,
        "ese_vovnet19b_dw": 0.8304,
        "fbnetc_100": 0.8266,
        "mobilenetv2_050": 0.8251,
        "mnasnet_100": 0.8210,
    },
    "derma": {
        "ese_vovnet19b_dw": 0.7341,
        "resnet18d": 0.7290,
        "gluon_resnet34_v1b": 0.7233,
        "crossvit_9_240": 0.7180,
        "convnext_atto": 0.7044,
    },
    "derma_small": {
        "ese_vovnet19b_dw": 0.7762,
        "resnet14t": 0.7726,
        "dpn68b": 0.7649,
        "gcresnext26ts": 0.7647,
        "densenetblur121d": 0.7600,
    },
    "derma_smallest": {
        "mobilenetv2_050": 0.6720,
        "convnext_atto": 0.6678,
        "crossvit_9_240": 0.6669,
        "pvt_v2_b0": 0.6669,
        "bat_resnext26ts": 0.6664,
    },
    "lidc": {
        "mnasnet_100": 0.6602,
        "resnet18d": 0.6524,
        "resnet14t": 0.6507,
        "resnet34d": 0.6478,
        "resnet26d": 0.6444,
    },
    "lidc_small": {
        "dpn68": 0.6475,
        "sehalonet33ts": 0.6190,
        "densenetblur121d": 0.6179,
        "bat_resnext26ts": 0.6158,
        "mobilevit_s": 0.6107,
    },
    "pneumonia": {
        "dla46_c": 0.9351,
        "hardcorenas_a": 0.9348,
        "mobilenetv2_050": 0.9178,
        "mobilevitv2_050": 0.9119,
        "semnasnet_075": 0.9112,
    },
    "pneumonia_small": {
        "resnext50d_32x4d": 0.9167,
        "dla60": 0.9159,
        "cspresnet50": 0.9118,
        "tinynet_a": 0.9056,
        "gcresnet33ts": 0.9049,
    },
}
FULL_AND_TENTH = {"derma_pt": "derma_small", "lidc": "lidc_small", "pneumonia": "pneumonia_small"}


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, its source, our computation, the verdict, and a remark."""

    claim: str
    where: str
    computed: str
    verdict: str
    remark: str


def claims(experiments: Sequence[Experiment], rows: Sequence[Row]) -> list[Claim]:
    """Return all claims, in the paper's order."""
    return [
        _architectures(experiments),
        _energy(experiments),
        *(_table1(rows) if rows else []),
        _pretraining(experiments),
        _training_size(experiments),
        _less_data(experiments),
        _performance(experiments),
        _small_score_higher(experiments),
        _best_are_small(experiments),
        _other_resources(experiments),
        *(_notebook(experiments, name) for name in EXPERIMENTS),
    ]


def missing(experiments: Sequence[Experiment], needed: Sequence[str] = tuple(EXPERIMENTS)) -> list[str]:
    """Return the needed experiments that are missing."""
    present = {experiment.name for experiment in experiments}
    return [name for name in needed if name not in present]


def needs(experiments: Sequence[Experiment], needed: Sequence[str]) -> str:
    """Return the verdict on a claim that cannot be judged; "" if all needed experiments are present."""
    absent = missing(experiments, needed)
    return f"needs {', '.join(absent)}" if absent else ""


def _judged(experiments: Sequence[Experiment], holds: bool) -> str:
    """Return the verdict on a claim about all experiments, some of which may be missing."""
    if missing(experiments):
        return "partly" if holds else "not on these"
    return "reproduced" if holds else "not reproduced"


def _scope(experiments: Sequence[Experiment]) -> str:
    """Say how many experiments the means include."""
    share = f"{len(experiments)} of " if missing(experiments) else ""
    return f"Means over {share}the 8 experiments."


def _architectures(experiments: Sequence[Experiment]) -> Claim:
    params = experiments[0].num_params / 1e6
    holds = len(params) == 131 and round(params.min()) == 1 and round(params.max(), -1) == 130
    return Claim(
        "131 architectures of 1 to 130 million parameters were compared.",
        "Abstract",
        f"{len(params)} architectures, {params.min():.2f} to {params.max():.1f} million",
        "reproduced" if holds else "not reproduced",
        "The upper end is rounded down." if holds and params.max() > 130 else "",
    )


def _energy(experiments: Sequence[Experiment]) -> Claim:
    rho, p = rank_correlation(experiments[0].num_params, mean(experiments, "energy_wh"))
    by_experiment = [rank_correlation(e.num_params, e.energy_wh)[0] for e in experiments]
    doubtful = [f"{e.implausible.sum()} energies of {e.name}" for e in experiments if e.implausible.any()]
    return Claim(
        "The more parameters a model has, the more energy its training takes.",
        "Figure of energy against parameters",
        f"Spearman's rho = {rho:.2f}, n = {len(experiments[0].names)}, {p_value(p)}; "
        f"by experiment {min(by_experiment):.2f} to {max(by_experiment):.2f}",
        _judged(experiments, rho > 0 and p < ALPHA),
        _scope(experiments)
        + (f" Not plausible as measurements (see below): {listed(doubtful)}." if doubtful else ""),
    )


def _table1(rows: Sequence[Row]) -> list[Claim]:
    agree = [row for row in rows if row.agrees]
    agree_minmax = [row for row in rows if row.agrees_minmax]
    differences = [row.score_minmax - row.printed.pepr_e for row in rows]
    slips = []
    for row in rows:
        model = f"{row.printed.architecture} ({row.printed.dataset})"
        slips += [f"{model}: {slip.column}" for slip in row.slips]
    explanation = (
        "The text and the authors' scripts subtract Emin; the line above says how the table was computed."
    )
    return [
        Claim(
            "PePR-E of Table 1 follows from the published results.",
            "Table 1",
            f"{len(agree)} of {len(rows)} rows within {TOLERANCE:g} with R = E / Emax",
            "reproduced" if len(agree) == len(rows) else "not reproduced",
            "This is not how the paper defines R: see the next line.",
        ),
        Claim(
            "PePR-E of Table 1 is computed with R = (E - Emin) / (Emax - Emin).",
            "Equation 1 and its normalisation; Table 1",
            f"{len(agree_minmax)} of {len(rows)} rows; ours minus the printed score is "
            f"{min(differences):.4f} to {max(differences):.4f}",
            "reproduced" if len(agree_minmax) == len(rows) else "not reproduced",
            "" if len(agree_minmax) == len(rows) else explanation,
        ),
        Claim(
            "The other columns of Table 1 follow from the published results.",
            "Table 1",
            f"{len(rows) * 5 - len(slips)} of {len(rows) * 5} rounded values are as printed",
            "partly" if slips else "reproduced",
            f"Differences: {'; '.join(slips)}." if slips else "No differences.",
        ),
    ]


def _pretraining(experiments: Sequence[Experiment]) -> Claim:
    claim = "Pretrained models perform better, p < 0.001."
    where = "Fig. 5a"
    by_name = {experiment.name: experiment for experiment in experiments}
    verdict = needs(experiments, ("derma_pt", "derma"))
    if not verdict:
        test = t_test(by_name["derma_pt"].performance[:, -1], by_name["derma"].performance[:, -1])
        verdict = "reproduced" if test.t > 0 and test.p < 0.001 else "not reproduced"
        return Claim(claim, where, str(test), verdict, "All models of derma_pt against derma.")
    if needs(experiments, ("derma", "derma_small")):
        return Claim(claim, where, "not testable", verdict, "")
    test = t_test(by_name["derma_small"].performance[:, -1], by_name["derma"].performance[:, -1])
    computed = f"not testable; nearest: derma_small against derma, {test}"
    remark = "derma_small is pretrained but uses a tenth of the images, so it proves nothing here."
    return Claim(claim, where, computed, verdict, remark)


def _training_size(experiments: Sequence[Experiment]) -> Claim:
    by_name = {experiment.name: experiment for experiment in experiments}
    claim = "Models perform better with all training images than with a tenth of them, p < 0.001."
    where = "Fig. 5b"
    verdict = needs(experiments, (*FULL_AND_TENTH, *FULL_AND_TENTH.values()))
    if verdict:
        pairs = [full for full, tenth in FULL_AND_TENTH.items() if full in by_name and tenth in by_name]
        remark = "No pair of all images and a tenth of them is complete here."
        if pairs:
            remark = f"Complete pairs here: {', '.join(pairs)}."
        return Claim(claim, where, "not testable", verdict, remark)
    full = mean([by_name[name] for name in FULL_AND_TENTH])
    tenth = mean([by_name[name] for name in FULL_AND_TENTH.values()])
    test = t_test(full, tenth)
    verdict = "reproduced" if test.t > 0 and test.p < 0.001 else "not reproduced"
    return Claim(claim, where, str(test), verdict, "Means over the three data sets by model.")


def _less_data(experiments: Sequence[Experiment]) -> Claim:
    by_name = {experiment.name: experiment for experiment in experiments}
    claim = "Fine-tuning a pretrained model saves data and compute, compared with training from scratch."
    where = "Abstract"
    verdict = needs(experiments, ("derma", "derma_small"))
    if verdict:
        return Claim(claim, where, "not testable", verdict, "")
    derma = by_name["derma"]
    small = by_name["derma_small"]
    scratch = derma.performance[:, -1]
    tuned = small.performance[:, -1]
    time_ratio = float(np.median(small.resources["train_time"] / derma.resources["train_time"]))
    count = int(np.sum(tuned >= scratch))
    best_keeps = bool(tuned.max() >= scratch.max())
    most_keep = 2 * count > len(tuned)
    if time_ratio >= 1 or not (best_keeps or most_keep):
        verdict = "not reproduced"
    else:
        verdict = "reproduced" if best_keeps and most_keep else "partly"
    computed = (
        f"{count} of {len(tuned)} models do at least as well pretrained on a tenth of the images as from "
        f"scratch on all; best {tuned.max():.4f} against {scratch.max():.4f}; an epoch takes "
        f"{time_ratio:.2f} of the time"
    )
    remark = (
        f"With a tenth of the images, the best performance is {'kept' if best_keeps else 'lost'}, "
        f"{'and' if best_keeps == most_keep else 'but'} most models "
        f"{'keep' if most_keep else 'lose'} theirs."
    )
    if derma.implausible.any() or small.implausible.any():
        remark += " Energy cannot be compared (see below)."
    return Claim(claim, where, computed, verdict, remark)


def _performance(experiments: Sequence[Experiment]) -> Claim:
    test = split_test(mean(experiments), experiments[0].small)
    grows = test.t < 0 and test.p < ALPHA
    small_better = []
    large_better = []
    for experiment in experiments:
        own_test = split_test(experiment.performance[:, -1], experiment.small)
        if own_test.p < ALPHA:
            (small_better if own_test.t > 0 else large_better).append(experiment.name)
    return Claim(
        "Performance does not grow significantly with the number of parameters.",
        "Fig. 5c",
        f"models up to the median of parameters against larger ones: {test}",
        _judged(experiments, not grows),
        f"{_scope(experiments)} Large models are significantly better in: "
        f"{', '.join(large_better) or 'none'}; small models in: {', '.join(small_better) or 'none'}.",
    )


def _small_score_higher(experiments: Sequence[Experiment]) -> Claim:
    test = split_test(mean(experiments, "scores"), experiments[0].small)
    tests = {experiment.name: split_test(experiment.scores(), experiment.small) for experiment in experiments}
    count = sum(each.t > 0 and each.p < ALPHA for each in tests.values())
    plausible = [f"{e.name}: {p_value(tests[e.name].p)}" for e in experiments if not e.implausible.any()]
    return Claim(
        "Small models score significantly higher by PePR-E than large ones.",
        "Fig. 5d",
        f"models up to the median of parameters against larger ones: {test}",
        _judged(experiments, test.t > 0 and test.p < ALPHA),
        f"{_scope(experiments)} Taken separately, it holds in {count} of {len(experiments)} experiments. "
        f"Those whose energies are all plausible: {'; '.join(plausible) or 'none'}.",
    )


def _best_are_small(experiments: Sequence[Experiment]) -> Claim:
    counts = []
    params = []
    for experiment in experiments:
        five = [experiment.names.index(name) for name in best(experiment.names, experiment.scores())]
        counts.append(int(experiment.small[five].sum()))
        params += list(experiment.num_params[five] / 1e6)
    return Claim(
        "The best models by PePR-E are small.",
        "Table 1, Fig. 5d",
        f"models up to the median of parameters hold {sum(counts)} of the {5 * len(experiments)} places "
        f"among an experiment's five best; all models there have {min(params):.1f} to {max(params):.1f} "
        "million parameters",
        _judged(experiments, sum(counts) > 2.5 * len(experiments)),
        f"{len(experiments)} of the 8 experiments." if missing(experiments) else "All 8 experiments.",
    )


def _other_resources(experiments: Sequence[Experiment]) -> Claim:
    energy = mean(experiments, "scores")
    small = experiments[0].small
    parts = []
    holds = True
    for resource, letter in LETTERS.items():
        values = mean(experiments, "scores", resource)
        test = split_test(values, small)
        holds &= test.t > 0 and test.p < ALPHA
        parts.append(
            f"PePR-{letter}: rho with PePR-E {rank_correlation(energy, values)[0]:.2f}, small "
            f"{test.means[0]:.3f} against {test.means[1]:.3f}, {p_value(test.p)}"
        )
    return Claim(
        "PePR-C, PePR-M and PePR-T show the same trend: small models score higher.",
        "Figure of the appendix",
        "; ".join(parts),
        _judged(experiments, bool(holds)),
        f"{_scope(experiments)} PePR-T uses the time of the last epoch only, because the results contain no "
        "other.",
    )


def _notebook(experiments: Sequence[Experiment], name: str) -> Claim:
    shown = NOTEBOOK[name]
    claim = f"The five best of {name} by PePR-E are {', '.join(shown)}."
    where = "The authors' notebook"
    verdict = needs(experiments, (name,))
    if verdict:
        return Claim(claim, where, "not testable", verdict, "")
    experiment = next(experiment for experiment in experiments if experiment.name == name)
    scores = experiment.scores()
    five_best = best(experiment.names, scores)
    differences = [
        abs(scores[experiment.names.index(model)] - score)
        for model, score in shown.items()
        if model in experiment.names
    ]
    max_difference = max(differences, default=1.0)
    computed = f"they are {', '.join(five_best)}"
    if five_best == list(shown):
        computed = f"the same, in the same order; scores differ by at most {max_difference:.5f}"
    holds = five_best == list(shown) and max_difference <= 0.5e-4 + 1e-9  # printed with four decimals
    verdict = "reproduced" if holds else "not reproduced"
    return Claim(claim, where, computed, verdict, "With min-max, as in the paper's equation.")
