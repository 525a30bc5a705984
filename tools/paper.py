"""The PePR paper recomputed from its published results: Table 1, the figures, and each claim beside what the results give.

    python tools/paper.py [--results FILE] [--table1 FILE] [--out docs]

FILE of results: our columns, or the authors' data/all_results.csv; without it, theirs is downloaded. FILE of Table 1: its rows, typed from
the paper; without it, what rests on them is left out. Writes paper.md and paper/*.svg into the folder, the same bytes every time.
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
from paper_findings import baseline, counted, doubts, energies, flags, groups, outlying, ranks, table, useless
from paper_table1 import BEST_EPOCH, COLUMNS, TOLERANCE, Row, read_table1, same_order, table1

from pepr_edge.errors import PeprError, ScoreError
from pepr_edge.run_dir.store import write_text
from pepr_edge.scoring.robustness import DRAWS
from pepr_edge.text.robustness import listed

WIDTH = 140
CAPTIONS = {
    "isoclines": (
        "Isoclines of PePR",
        "Lines of equal PePR-E over energy and performance, the models of one experiment upon them and the five best named. A model "
        "moves to a better line by costing less or by deciding better; the star costs nothing and is useless.",
    ),
    "energy_parameters": (
        "Energy against parameters",
        "Both axes logarithmic. Hollow: over ten times the last epoch's time, this energy would take more than "
        f"{PLAUSIBLE_W:.0f} W, so it can hardly be this training's own (see below).",
    ),
    "training_influence": (
        "Pretraining and training-set size",
        "Every model a point; the box spans the quartiles, the whiskers 5 to 95 %.",
    ),
    "performance_parameters": (
        "Performance and PePR-E against parameters",
        "Means by model. The dotted line is the median number of parameters, the green lines are the means on either side of it; the model "
        "at the median counts as small.",
    ),
    "pepr_ctm_parameters": (
        "PePR-C, PePR-M and PePR-T",
        "The same over other resources: CO2eq of the training, GPU memory, and the time of the last epoch.",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its figures; 1, and one line on what is wrong, where the tables cannot be used."""
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
    """paper.md and the figures it shows.

    Raises:
        ScoreError: the folder cannot be written to.
    """
    drawn = figures(experiments, {experiment.name: baseline(experiment) for experiment in experiments})
    try:
        (folder / "paper").mkdir(parents=True, exist_ok=True)
        for name, draw in drawn.items():
            write_text(folder / "paper" / f"{name}.svg", svg(draw()))
        write_text(folder / "paper.md", page(experiments, rows))
    except OSError as fault:
        raise ScoreError(
            f"{folder}: cannot be written ({fault.strerror}), expected a folder for the page. Choose another --out."
        ) from None


def page(experiments: Sequence[Experiment], rows: Sequence[Row]) -> str:
    """The whole page in Markdown."""
    found = claims(experiments, rows)
    sections = [
        head(experiments, found),
        claim_section(found),
        *([table_section(rows)] if rows else []),
        figure_section(experiments),
    ]
    return (
        wrapped(
            "\n\n".join(
                [*sections, chance_section(experiments), data_section(experiments, rows), again_section()]
            )
        )
        + "\n"
    )


def head(experiments: Sequence[Experiment], found: Sequence[Claim]) -> str:
    """What the page was made from, and how many claims came out how."""
    absent = missing(experiments)
    verdicts = Counter(claim.verdict.split()[0] for claim in found)
    given = table(
        ("experiment", "models", "what was trained"),
        [(e.name, len(e.names), EXPERIMENTS[e.name]) for e in experiments],
    )
    shown = {
        "reproduced": "reproduced",
        "partly": "partly",
        "not": "not reproduced",
        "needs": "in need of experiments that are not here",
    }
    counts = [f"{verdicts[word]} {name}" for word, name in shown.items() if verdicts[word]]
    lacking = (
        f" The results of {listed(absent)} are not among them; what needs these is marked." if absent else ""
    )
    return f"""# The PePR paper, recomputed

Selvan, Pepin, Igel, Samuel and Dam: *PePR: Performance Per Resource Unit as a Metric to Promote Small-scale Deep Learning in Medical Image
Analysis*, NLDL 2025, PMLR 265:220-229, [arXiv 2403.12562v2](https://arxiv.org/abs/2403.12562v2). PePR = P / (1 + R): performance P and
resource R, both between 0 and 1.

`tools/paper.py` wrote this page from the published results (content {content_hash(experiments)}): {len(experiments)} of the paper's
8 experiments.{lacking} All scores come from `pepr_edge.scoring.pepr`.

{given}

Of {len(found)} claims: {listed(counts)}."""


def table_section(rows: Sequence[Row]) -> str:
    """Table 1 in full: the paper's figures beside ours."""
    body = [_table_row(row) for row in rows]
    titles = (
        "experiment",
        "architecture",
        "efficient",
        "parameters (M)",
        "memory (GB)",
        "energy (Wh)",
        "last epoch (s)",
        "P",
    )
    scores = ("PePR-E, paper", "ours, max", "ours, min-max", "max", "min-max")
    order = (
        "the same"
        if all(same_order(rows, dataset) for dataset in {row.printed.dataset for row in rows})
        else "not the same"
    )
    slips = "\n".join(
        f"- {row.printed.architecture} ({row.printed.dataset}), {slip.column}: printed {slip.printed}, ours {slip.computed}; {slip.remark}."
        for row in rows
        for slip in row.slips
    )
    return f"""## Table 1

Two ways to normalise the energy. **max**: R = E / Emax. **min-max**: R = (E - Emin) / (Emax - Emin), which is what the paper's equation
says and what its scripts compute. A score is reproduced where ours is within {TOLERANCE:g} of it. The other columns are the paper's; where
ours is another, it stands in brackets.

{table((*titles, *scores), body)}

{sum(row.agrees for row in rows)} of {counted(len(rows), "score")} are reproduced with max, {sum(row.agrees_minmax for row in rows)} with
the paper's own equation. The order of an experiment's rows is {order} under both. Values that are not as printed:

{slips or "- none."}"""


def _table_row(row: Row) -> tuple[object, ...]:
    printed, ours = row.printed, {slip.column: slip.computed for slip in row.slips}
    shown = {
        "parameters (M)": f"{printed.num_params_m:.1f}",
        "memory (GB)": f"{printed.gpu_memory_gb:.1f}",
        "energy (Wh)": f"{printed.energy_wh:.1f}",
        "last epoch (s)": f"{printed.last_epoch_s:.1f}",
        "P": f"{printed.performance:.4f}",
    }
    cells = [f"{value} (**{ours[name]}**)" if name in ours else value for name, value in shown.items()]
    scores = (f"{printed.pepr_e:.4f}", f"{row.score_max:.4f}", f"{row.score_minmax:.4f}")
    verdicts = ("reproduced" if agrees else "not reproduced" for agrees in (row.agrees, row.agrees_minmax))
    return (
        printed.dataset,
        printed.architecture,
        "yes" if printed.efficient else "no",
        *cells,
        *scores,
        *verdicts,
    )


def claim_section(found: Sequence[Claim]) -> str:
    """Each claim and its verdict."""
    body = [
        (claim.claim, claim.where, claim.computed, f"**{claim.verdict}**", claim.remark) for claim in found
    ]
    return f"""## Claims

The claims are in our words. A figure of the paper stands here only where its Table 1, its plotting script or its notebook shows it; figures
are numbered as in that script. Tests are Student's t-tests of independent groups, as the authors', and n counts models.

- **reproduced**: the published results give it, and all experiments that it rests on are here.
- **partly**: it holds, but for some of the experiments or of the values only, as said.
- **not reproduced**: they do not give it. **not on these**: they do not, but experiments are absent.
- **needs ...**: it cannot be judged without the experiments named.

{table(("claim", "where", "computed", "verdict", "remark"), body)}"""


def figure_section(experiments: Sequence[Experiment]) -> str:
    """The pictures, each with what it shows."""
    absent = missing(experiments)
    remarks = {
        "training_influence": f"The paper's comparison needs {listed(absent)} as well." if absent else ""
    }
    parts = [
        f"### {title}\n\n![{title}](paper/{name}.svg)\n\n{' '.join(filter(None, (caption, remarks.get(name, ''))))}"
        for name, (title, caption) in CAPTIONS.items()
    ]
    return "\n\n".join(["## Figures", *parts])


def chance_section(experiments: Sequence[Experiment]) -> str:
    """How much of the rankings is chance or choice."""
    return f"""## How firm the rankings are

**Chance of the test images.** Which ranks each of the five best might have, had other test images been drawn: marginal 95 % confidence
sets for ranks (Mogstad, Romano, Shaikh and Wilhelm 2024). A model stands behind those that are better by more than chance, and before
those that are worse by more than chance. How much chance can do comes from {DRAWS} draws of every model's performance (posterior under the
Jeffreys prior), the energies unchanged: the 95th percentile of the greatest difference to any other model, in standard errors. An interval
holds for its model by itself, not for all at once; a model may be first where its own includes rank 1. The last column counts in how many
of the draws it is first. Answers to single images were not published, so that models are drawn independently: where
models err on the same images, the intervals are too wide rather than too narrow. The authors' loaders drop the last incomplete batch of
32, so that DermaMNIST's 2005 test images count as 1984 and PneumoniaMNIST's 624 as 608. The number of LIDC's is not known to us: it is
taken as the smallest number of whole batches in which every published accuracy is a whole count. One training of each model was
published, so that the chance of training itself is not in these intervals.

{ranks(experiments)}

**One model sets the scale.** Under min-max the costliest and the cheapest model of a set fix R for all others.

{outlying(experiments)}

**A useless model ranks high.**

{useless(experiments)}

**Groups.** The paper marks efficient architectures and lists families; what it says of them is not known to us word by word, so there is no
verdict. Means over the experiments above.

{groups(experiments)}"""


def data_section(experiments: Sequence[Experiment], rows: Sequence[Row]) -> str:
    """What in the published results is not what it seems."""
    best = [
        f"{row.printed.architecture} ({row.printed.dataset})"
        for row in rows
        if any(slip.remark == BEST_EPOCH for slip in row.slips)
    ]
    points = [
        "**Time is the last epoch's.** It includes the evaluation on the test images; energy and CO2eq are of all ten epochs.",
        "**P is the accuracy after the tenth epoch**, whatever happened before."
        + (f" Table 1 shows the best epoch's of {listed(best)}." if best else ""),
        "**Efficient architectures in the authors' scatter plots.** Their script takes the flags from a table in order of parameters, "
        f"and the points from one in order of names, row by row. As it reads, {flags(experiments[0])}. Our figures go by name.",
    ]
    if found := doubts(experiments):
        points.insert(0, f"**Energies that are not their own.** {found}")
    listing = "\n".join(f"- {point}" for point in points)
    return f"## What to know about the published results\n\n{listing}\n\n{energies(experiments)}"


def again_section() -> str:
    """How to make the page again."""
    return f"""## Making this page again

    python tools/paper.py --results RESULTS.csv --table1 TABLE1.csv

Without `--results` the authors' `data/all_results.csv` is downloaded from [their repository](https://github.com/saintslab/PePR) at commit
`{COMMIT[:12]}`. It should hold all 8 experiments, and then no claim above should need one any more. `--table1` takes the rows of the
paper's Table 1 with the columns {", ".join(COLUMNS)}."""


def wrapped(text: str) -> str:
    """A page with its prose in lines of equal width; headings, tables, pictures and code stay as they are."""
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
