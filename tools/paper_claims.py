"""What the PePR paper claims, and what its published results give: one line for each claim, with a verdict.

The claims are put in our words. Where a figure of the paper is repeated here, it stands in its Table 1, in its plotting script or in its
notebook; otherwise a claim has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from paper_data import EXPERIMENTS, Experiment, mean, p_value, rank_correlation, split, t_test
from paper_table1 import TOLERANCE, Row

from pepr_edge.scoring.robustness import best
from pepr_edge.text.robustness import listed

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
    """A claim of the paper and where it stands; what was computed; the verdict, and a sentence on it."""

    claim: str
    where: str
    computed: str
    verdict: str
    remark: str


def claims(experiments: Sequence[Experiment], rows: Sequence[Row]) -> list[Claim]:
    """All of them, in the paper's order."""
    found = [_architectures(experiments), _energy(experiments)]
    found += _table1(rows) if rows else []
    found += [_pretraining(experiments), _training_size(experiments), _less_data(experiments)]
    found += [
        _performance(experiments),
        _small_score_higher(experiments),
        _best_are_small(experiments),
        _others(experiments),
    ]
    return found + [_notebook(experiments, name) for name in EXPERIMENTS]


def missing(experiments: Sequence[Experiment], needed: Sequence[str] = tuple(EXPERIMENTS)) -> list[str]:
    """Which of the experiments are not there."""
    return [name for name in needed if name not in {experiment.name for experiment in experiments}]


def needs(experiments: Sequence[Experiment], needed: Sequence[str]) -> str:
    """The verdict on what cannot be judged, "" where all experiments that it rests on are there."""
    absent = missing(experiments, needed)
    return f"needs {', '.join(absent)}" if absent else ""


def _judged(experiments: Sequence[Experiment], holds: bool) -> str:
    """The verdict on a claim about all experiments, of which some may be absent."""
    if missing(experiments):
        return "partly" if holds else "not on these"
    return "reproduced" if holds else "not reproduced"


def _scope(experiments: Sequence[Experiment]) -> str:
    """On how much a verdict of "partly" rests."""
    return (
        f"Means over {len(experiments)} of the 8 experiments."
        if missing(experiments)
        else "Means over the 8 experiments."
    )


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
    apart = [rank_correlation(experiment.num_params, experiment.energy_wh)[0] for experiment in experiments]
    doubtful = [f"{e.implausible.sum()} energies of {e.name}" for e in experiments if e.implausible.any()]
    return Claim(
        "Training a model takes the more energy, the more parameters it has.",
        "Figure of energy against parameters",
        f"Spearman's rho = {rho:.2f}, n = {len(experiments[0].names)}, {p_value(p)}; apart {min(apart):.2f} to {max(apart):.2f}",
        _judged(experiments, rho > 0 and p < ALPHA),
        _scope(experiments)
        + (f" Not plausible as measurements (see below): {listed(doubtful)}." if doubtful else ""),
    )


def _table1(rows: Sequence[Row]) -> list[Claim]:
    agree, minmax = [row for row in rows if row.agrees], [row for row in rows if row.agrees_minmax]
    differences = [row.score_minmax - row.printed.pepr_e for row in rows]
    slips = [
        f"{row.printed.architecture} ({row.printed.dataset}): {slip.column}"
        for row in rows
        for slip in row.slips
    ]
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
            f"{len(minmax)} of {len(rows)} rows; ours less the printed is {min(differences):.4f} to {max(differences):.4f}",
            "reproduced" if len(minmax) == len(rows) else "not reproduced",
            ""
            if len(minmax) == len(rows)
            else "The text and the authors' scripts subtract Emin; the line above says what the table does.",
        ),
        Claim(
            "The other columns of Table 1 follow from the published results.",
            "Table 1",
            f"{len(rows) * 5 - len(slips)} of {len(rows) * 5} values as printed once rounded",
            "partly" if slips else "reproduced",
            f"Slips: {'; '.join(slips)}." if slips else "No slips.",
        ),
    ]


def _pretraining(experiments: Sequence[Experiment]) -> Claim:
    by_name = {experiment.name: experiment for experiment in experiments}
    verdict = needs(experiments, ("derma_pt", "derma"))
    if verdict:
        computed = remark = ""
        if not needs(experiments, ("derma", "derma_small")):
            test = t_test(by_name["derma_small"].performance[:, -1], by_name["derma"].performance[:, -1])
            computed = f"not testable; nearest: derma_small against derma, {test}"
            remark = "derma_small is pretrained, but on a tenth of the images: two influences at once, so it decides nothing here."
        return Claim(
            "Pretrained models perform better, p < 0.001.",
            "Fig. 5a",
            computed or "not testable",
            verdict,
            remark,
        )
    test = t_test(by_name["derma_pt"].performance[:, -1], by_name["derma"].performance[:, -1])
    verdict = "reproduced" if test.t > 0 and test.p < 0.001 else "not reproduced"
    return Claim(
        "Pretrained models perform better, p < 0.001.",
        "Fig. 5a",
        str(test),
        verdict,
        "All models of derma_pt against derma.",
    )


def _training_size(experiments: Sequence[Experiment]) -> Claim:
    by_name = {experiment.name: experiment for experiment in experiments}
    claim, where = (
        "Models perform better with all training images than with a tenth of them, p < 0.001.",
        "Fig. 5b",
    )
    verdict = needs(experiments, (*FULL_AND_TENTH, *FULL_AND_TENTH.values()))
    if verdict:
        pairs = [full for full, tenth in FULL_AND_TENTH.items() if full in by_name and tenth in by_name]
        remark = (
            f"Complete pairs here: {', '.join(pairs) or 'none'}."
            if pairs
            else "No pair of all images and a tenth is complete here."
        )
        return Claim(claim, where, "not testable", verdict, remark)
    full = mean([by_name[name] for name in FULL_AND_TENTH])
    tenth = mean([by_name[name] for name in FULL_AND_TENTH.values()])
    test = t_test(full, tenth)
    verdict = "reproduced" if test.t > 0 and test.p < 0.001 else "not reproduced"
    return Claim(claim, where, str(test), verdict, "Means over the three data sets by model.")


def _less_data(experiments: Sequence[Experiment]) -> Claim:
    by_name = {experiment.name: experiment for experiment in experiments}
    claim, where = (
        "Fine-tuning a pretrained model saves data and compute against training from scratch.",
        "Abstract",
    )
    verdict = needs(experiments, ("derma", "derma_small"))
    if verdict:
        return Claim(claim, where, "not testable", verdict, "")
    scratch, tuned = by_name["derma"].performance[:, -1], by_name["derma_small"].performance[:, -1]
    time = float(
        np.median(by_name["derma_small"].resources["train_time"] / by_name["derma"].resources["train_time"])
    )
    count, best_keeps = int(np.sum(tuned >= scratch)), bool(tuned.max() >= scratch.max())
    most_keep = 2 * count > len(
        tuned
    )  # in full where this holds and the best is kept; not at all where neither does
    remark = (
        f"With a tenth of the images, the best performance is {'kept' if best_keeps else 'lost'}, "
        f"{'and' if best_keeps == most_keep else 'but'} most models {'keep' if most_keep else 'do not keep'} theirs."
    )
    doubtful = by_name["derma"].implausible.any() or by_name["derma_small"].implausible.any()
    return Claim(
        claim,
        where,
        f"{count} of {len(tuned)} models do at least as well pretrained on a tenth of the images as from scratch on all; "
        f"best {tuned.max():.4f} against {scratch.max():.4f}; an epoch takes {time:.2f} of the time",
        "not reproduced"
        if time >= 1 or not (best_keeps or most_keep)
        else "reproduced"
        if best_keeps and most_keep
        else "partly",
        remark + (" Energy cannot be compared (see below)." if doubtful else ""),
    )


def _performance(experiments: Sequence[Experiment]) -> Claim:
    test = split(mean(experiments), experiments[0].small)
    grows = test.t < 0 and test.p < ALPHA
    apart = [split(experiment.performance[:, -1], experiment.small) for experiment in experiments]
    better = [e.name for e, one in zip(experiments, apart, strict=True) if one.t > 0 and one.p < ALPHA]
    worse = [e.name for e, one in zip(experiments, apart, strict=True) if one.t < 0 and one.p < ALPHA]
    return Claim(
        "Performance does not grow significantly with the number of parameters.",
        "Fig. 5c",
        f"models up to the median of parameters against larger ones: {test}",
        _judged(experiments, not grows),
        f"{_scope(experiments)} Large models are significantly better in {', '.join(worse) or 'none'} of them, "
        f"small ones in {', '.join(better) or 'none'}.",
    )


def _small_score_higher(experiments: Sequence[Experiment]) -> Claim:
    test = split(mean(experiments, "scores"), experiments[0].small)
    apart = [split(experiment.scores(), experiment.small) for experiment in experiments]
    count = sum(one.t > 0 and one.p < ALPHA for one in apart)
    sound = [
        f"{e.name}: {p_value(one.p)}"
        for e, one in zip(experiments, apart, strict=True)
        if not e.implausible.any()
    ]
    return Claim(
        "Small models score significantly higher by PePR-E than large ones.",
        "Fig. 5d",
        f"models up to the median of parameters against larger ones: {test}",
        _judged(experiments, test.t > 0 and test.p < ALPHA),
        f"{_scope(experiments)} Apart, it holds in {count} of {len(experiments)}; in those whose energies are all plausible, "
        f"{'; '.join(sound) or 'none is here'}.",
    )


def _best_are_small(experiments: Sequence[Experiment]) -> Claim:
    counts, params = [], []
    for experiment in experiments:
        five = [experiment.names.index(name) for name in best(experiment.names, experiment.scores())]
        counts.append(int(experiment.small[five].sum()))
        params += list(experiment.num_params[five] / 1e6)
    return Claim(
        "The best models by PePR-E are small.",
        "Table 1, Fig. 5d",
        f"models up to the median of parameters hold {sum(counts)} of the {5 * len(experiments)} places among an experiment's five best; "
        f"all who hold one have {min(params):.1f} to {max(params):.1f} million parameters",
        _judged(experiments, sum(counts) > 2.5 * len(experiments)),
        f"{len(experiments)} of the 8 experiments." if missing(experiments) else "All 8 experiments.",
    )


def _others(experiments: Sequence[Experiment]) -> Claim:
    energy, small = mean(experiments, "scores"), experiments[0].small
    parts, holds = [], True
    for resource, letter in LETTERS.items():
        values = mean(experiments, "scores", resource)
        test = split(values, small)
        holds &= test.t > 0 and test.p < ALPHA
        parts.append(
            f"PePR-{letter}: rho with PePR-E {rank_correlation(energy, values)[0]:.2f}, small {test.means[0]:.3f} against "
            f"{test.means[1]:.3f}, {p_value(test.p)}"
        )
    return Claim(
        "PePR-C, PePR-M and PePR-T show the same trend: small models score higher.",
        "Figure of the appendix",
        "; ".join(parts),
        _judged(experiments, bool(holds)),
        f"{_scope(experiments)} PePR-T rests on the time of the last epoch alone, which is what the results hold.",
    )


def _notebook(experiments: Sequence[Experiment], name: str) -> Claim:
    shown = NOTEBOOK[name]
    claim, where = f"The five best of {name} by PePR-E are {', '.join(shown)}.", "The authors' notebook"
    verdict = needs(experiments, (name,))
    if verdict:
        return Claim(claim, where, "not testable", verdict, "")
    experiment = next(experiment for experiment in experiments if experiment.name == name)
    scores = experiment.scores()
    found = best(experiment.names, scores)
    known = {model: score for model, score in shown.items() if model in experiment.names}
    differ = max(
        (abs(scores[experiment.names.index(model)] - score) for model, score in known.items()), default=1.0
    )
    holds = found == list(shown) and differ <= 0.5e-4 + 1e-9  # they are printed with four decimals
    return Claim(
        claim,
        where,
        f"the same, in the same order; scores differ by at most {differ:.5f}"
        if found == list(shown)
        else f"they are {', '.join(found)}",
        "reproduced" if holds else "not reproduced",
        "With min-max, as the paper's equation says.",
    )
