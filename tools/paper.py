"""Recompute the PePR paper from its published results: Table 1, the figures, and a verdict on each claim.

    python tools/paper.py [--results FILE] [--table1 FILE] [--out docs]

--results: a table in our columns, or the authors' data/all_results.csv, which is downloaded by default.
--table1: the rows of the paper's Table 1; without it, everything that needs them is left out.
Writes paper.md and paper/*.svg into the folder, the same bytes every time.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from paper_claims import Claim, claims, missing
from paper_data import COMMIT, EXPERIMENTS, PLAUSIBLE_W, Experiment, content_hash, published, read
from paper_figures import figures, svg
from paper_findings import (
    baseline,
    energies,
    energy_doubts,
    flags,
    groups,
    outlying,
    ranks,
    table,
    trivial_model,
)
from paper_table1 import BEST_EPOCH, COLUMNS, TOLERANCE, Row, read_table1, same_order, table1

from pepr_edge.errors import PeprError, ScoreError
from pepr_edge.run_dir.store import write_text
from pepr_edge.scoring.robustness import DRAWS
from pepr_edge.text.units import listed, plural

WIDTH = 140  # of a line of prose in the page
CAPTIONS = {
    "isoclines": (
        "Isoclines of PePR",
        "Lines of equal PePR-E over energy and performance, with the models of one experiment; the five "
        "best are named. A model reaches a better line with less energy or higher accuracy. The star is a "
        "trivial model: it costs nothing and always answers the most frequent class.",
    ),
    "energy_parameters": (
        "Energy against parameters",
        "Both axes are logarithmic. Hollow: over ten times the last epoch's time, this energy would need "
        f"more than {PLAUSIBLE_W:.0f} W, so it is probably not the energy of this training (see below).",
    ),
    "training_influence": (
        "Pretraining and training-set size",
        "Each point is a model; the box spans the quartiles, the whiskers 5 to 95 %.",
    ),
    "performance_parameters": (
        "Performance and PePR-E against parameters",
        "Means by model. The dotted line is the median number of parameters; the green lines are the means "
        "on each side of it. The model at the median counts as small.",
    ),
    "pepr_ctm_parameters": (
        "PePR-C, PePR-M and PePR-T",
        "The same for other resources: CO2eq of the training, GPU memory, and the time of the last epoch.",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its figures; return 1, after one line about the fault, if a table cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--results", type=Path, help="the published results as CSV; without it, they are downloaded"
    )
    parser.add_argument("--table1", type=Path, help="the rows of the paper's Table 1 as CSV")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for paper.md and paper/")
    options = parser.parse_args(arguments)
    try:
        experiments = read(options.results) if options.results else published()
        rows = table1(experiments, read_table1(options.table1)) if options.table1 else []
        write(options.out, experiments, rows)
    except PeprError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


def write(folder: Path, experiments: Sequence[Experiment], rows: Sequence[Row]) -> None:
    """Write paper.md and its figures.

    Raises:
        ScoreError: the folder is not writable.
    """
    baselines = {experiment.name: baseline(experiment) for experiment in experiments}
    try:
        (folder / "paper").mkdir(parents=True, exist_ok=True)
        for name, draw in figures(experiments, baselines).items():
            write_text(folder / "paper" / f"{name}.svg", svg(draw()))
        write_text(folder / "paper.md", page(experiments, rows))
    except OSError as fault:
        raise ScoreError(
            f"{folder}: cannot be written ({fault.strerror}), expected a folder for the page. "
            "Choose another --out."
        ) from None


def page(experiments: Sequence[Experiment], rows: Sequence[Row]) -> str:
    """Return the page in Markdown."""
    verdicts = claims(experiments, rows)
    sections = [head(experiments, verdicts), claim_section(verdicts)]
    if rows:
        sections.append(table_section(rows))
    sections += [
        figure_section(experiments),
        chance_section(experiments),
        data_section(experiments, rows),
        again_section(),
    ]
    return wrapped("\n\n".join(sections)) + "\n"


def head(experiments: Sequence[Experiment], verdicts: Sequence[Claim]) -> str:
    """Name the sources of the page, and count the verdicts."""
    absent = missing(experiments)
    counter = Counter(claim.verdict.split()[0] for claim in verdicts)
    given = table(
        ("experiment", "models", "training"),
        [(e.name, len(e.names), EXPERIMENTS[e.name]) for e in experiments],
    )
    labels = {
        "reproduced": "reproduced",
        "partly": "partly",
        "not": "not reproduced",
        "needs": "in need of missing experiments",
    }
    counts = [f"{counter[word]} {label}" for word, label in labels.items() if counter[word]]
    absence = ""
    if absent:
        absence = f" The results of {listed(absent)} are missing; claims that need them are marked."
    return f"""# The PePR paper, recomputed

Selvan, Pepin, Igel, Samuel and Dam: *PePR: Performance Per Resource Unit as a Metric to Promote Small-scale
Deep Learning in Medical Image Analysis*, NLDL 2025, PMLR 265:220-229, [arXiv
2403.12562v2](https://arxiv.org/abs/2403.12562v2). PePR = P / (1 + R): performance P and resource R, both
between 0 and 1.

`tools/paper.py` wrote this page from the published results (content {content_hash(experiments)}):
{len(experiments)} of the paper's 8 experiments.{absence} All scores come from `pepr_edge.scoring.pepr`.

{given}

Of {len(verdicts)} claims: {listed(counts)}."""


def table_section(rows: Sequence[Row]) -> str:
    """Show the whole of Table 1: the paper's figures beside ours."""
    titles = (
        "experiment",
        "architecture",
        "efficient",
        "parameters (M)",
        "memory (GB)",
        "energy (Wh)",
        "last epoch (s)",
        "P",
        "PePR-E, paper",
        "ours, max",
        "ours, min-max",
        "max",
        "min-max",
    )
    datasets = {row.printed.dataset for row in rows}
    order = "the same" if all(same_order(rows, dataset) for dataset in datasets) else "not the same"
    with_max = sum(row.agrees for row in rows)
    with_minmax = sum(row.agrees_minmax for row in rows)
    differences = []
    for row in rows:
        model = f"{row.printed.architecture} ({row.printed.dataset})"
        for slip in row.slips:
            values = f"printed {slip.printed}, ours {slip.computed}"
            differences.append(f"- {model}, {slip.column}: {values}; {slip.remark}.")
    listing = "\n".join(differences) or "- none."
    return f"""## Table 1

There are two ways to normalise the energy. **max**: R = E / Emax. **min-max**: R = (E - Emin) / (Emax -
Emin), as in the paper's equation and in its scripts. A score is reproduced if ours differs by at most
{TOLERANCE:g}. The other columns show the paper's values, with ours in brackets if it differs.

{table(titles, [_table_row(row) for row in rows])}

{with_max} of {plural(len(rows), "score")} are reproduced with max, {with_minmax} with the paper's own
equation. The order of an experiment's rows is {order} under both. Values that differ from the printed ones:

{listing}"""


def _table_row(row: Row) -> tuple[object, ...]:
    printed = row.printed
    ours = {slip.column: slip.computed for slip in row.slips}
    values = {
        "parameters (M)": f"{printed.num_params_m:.1f}",
        "memory (GB)": f"{printed.gpu_memory_gb:.1f}",
        "energy (Wh)": f"{printed.energy_wh:.1f}",
        "last epoch (s)": f"{printed.last_epoch_s:.1f}",
        "P": f"{printed.performance:.4f}",
    }
    cells = [f"{value} (**{ours[name]}**)" if name in ours else value for name, value in values.items()]
    return (
        printed.dataset,
        printed.architecture,
        "yes" if printed.efficient else "no",
        *cells,
        f"{printed.pepr_e:.4f}",
        f"{row.score_max:.4f}",
        f"{row.score_minmax:.4f}",
        _verdict(row.agrees),
        _verdict(row.agrees_minmax),
    )


def _verdict(agrees: bool) -> str:
    return "reproduced" if agrees else "not reproduced"


def claim_section(verdicts: Sequence[Claim]) -> str:
    """List each claim and its verdict."""
    titles = ("claim", "source", "computed", "verdict", "remark")
    body = [
        (claim.claim, claim.where, claim.computed, f"**{claim.verdict}**", claim.remark) for claim in verdicts
    ]
    return f"""## Claims

The claims are in our words. A figure of the paper is given only if its Table 1, its plotting script or its
notebook shows it; figures are numbered as in that script. Tests are Student's t-tests of independent groups,
as in the paper, and n is the number of models.

- **reproduced**: the published results confirm it, and all experiments that it needs are here.
- **partly**: it holds for some of the experiments or values only, see the remark.
- **not reproduced**: the results contradict it. **not on these**: they contradict it, but experiments are
  missing.
- **needs ...**: it cannot be judged without the named experiments.

{table(titles, body)}"""


def figure_section(experiments: Sequence[Experiment]) -> str:
    """Show the pictures and their captions."""
    absent = missing(experiments)
    parts = ["## Figures"]
    for name, (title, caption) in CAPTIONS.items():
        if name == "training_influence" and absent:
            caption += f" The paper's comparison needs {listed(absent)} as well."
        parts.append(f"### {title}\n\n![{title}](paper/{name}.svg)\n\n{caption}")
    return "\n\n".join(parts)


def chance_section(experiments: Sequence[Experiment]) -> str:
    """Say how much the rankings depend on chance and on choices."""
    return f"""## How reliable the rankings are

**Chance of the test images.** The table shows which ranks each of the five best could have with other test
images: marginal 95 % confidence sets for ranks (Mogstad, Romano, Shaikh and Wilhelm 2024). A model ranks
behind the models that are better by more than chance, and before those that are worse by more than chance.
The size of chance comes from {DRAWS} draws of every model's performance (posterior under the Jeffreys prior)
with unchanged energies: the 95th percentile of the largest difference to any other model, in standard errors.
An interval holds for its model alone, not for all models at once; a model may be first if its interval
includes rank 1. The last column is the share of draws in which it is first. Answers to single images were not
published, so models are drawn independently: if models err on the same images, the intervals are too wide
rather than too narrow. The authors' loaders drop the last incomplete batch of 32, so DermaMNIST's 2005 test
images count as 1984 and PneumoniaMNIST's 624 as 608. We do not know the number of LIDC's test images: we take
the smallest number of complete batches for which every published accuracy is a whole number of images. One
training of each model was published, so the intervals do not include the chance of training itself.

{ranks(experiments)}

**One model sets the scale.** With min-max, the models of a set with the highest and the lowest energy
determine R for all others.

{outlying(experiments)}

**A trivial model ranks high.**

{trivial_model(experiments)}

**Groups.** The paper marks efficient architectures and lists families. We do not have its exact claims about
them, so there is no verdict. Means over the experiments above.

{groups(experiments)}"""


def data_section(experiments: Sequence[Experiment], rows: Sequence[Row]) -> str:
    """Explain the traps in the published results."""
    best_epoch = [
        f"{row.printed.architecture} ({row.printed.dataset})"
        for row in rows
        if any(slip.remark == BEST_EPOCH for slip in row.slips)
    ]
    points = []
    doubts = energy_doubts(experiments)
    if doubts:
        points.append(f"**Energies of another training.** {doubts}")
    points.append(
        "**Time is the last epoch's.** It includes the evaluation on the test images; energy and CO2eq are "
        "those of all ten epochs."
    )
    performance = "**P is the accuracy after the tenth epoch**, even if an earlier epoch was better."
    if best_epoch:
        performance += f" Table 1 shows the accuracy of the best epoch for {listed(best_epoch)}."
    points.append(performance)
    points.append(
        "**Efficient architectures in the authors' scatter plots.** Their script takes the flags from a "
        "table sorted by parameters and the points from a table sorted by name, and combines them row by "
        f"row. By our reading, {flags(experiments[0])}. Our figures match them by name."
    )
    listing = "\n".join(f"- {point}" for point in points)
    return f"## Known problems of the published results\n\n{listing}\n\n{energies(experiments)}"


def again_section() -> str:
    """Say how to make the page again."""
    return f"""## Making this page again

    python tools/paper.py --results RESULTS.csv --table1 TABLE1.csv

Without `--results` the authors' `data/all_results.csv` is downloaded from [their
repository](https://github.com/saintslab/PePR) at commit `{COMMIT[:12]}`. It should contain all 8 experiments;
then no claim above needs a missing one. `--table1` takes the rows of the paper's Table 1 with the columns
{", ".join(COLUMNS)}."""


def wrapped(text: str) -> str:
    """Wrap the prose of a page; headings, tables, pictures and code stay as they are."""
    return "\n\n".join(
        block if block.startswith(("#", "|", "!", "    ")) else _filled(block) for block in text.split("\n\n")
    )


def _filled(block: str) -> str:
    start = "- " if block.startswith("- ") else ""
    texts = ("\n" + block).split("\n- ")[1:] if start else [block]
    return "\n".join(
        textwrap.fill(
            " ".join(text.split()),
            WIDTH,
            initial_indent=start,
            subsequent_indent=" " * len(start),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for text in texts
    )


if __name__ == "__main__":
    sys.exit(main())
