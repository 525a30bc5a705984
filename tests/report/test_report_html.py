"""report.html: whole for every kind of run, closed to the network, accessible, escaped."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import report_records as records
from made_records import bench, field_report

from pepr_edge.records import DeviceWinner
from pepr_edge.report.html import Drawn, ReportInput, _content, render, write
from pepr_edge.report.quantised import Answered

VOID = {"meta", "br", "hr", "img", "link", "input"}
NOTHING_DRAWN = Drawn((), (), (), (), (), (), ())
NASTY = "<script>alert('x')</script>&\"$y_1$"


def report(run: records.Run, title: str = "quickstart") -> ReportInput:
    """A report's input from a synthetic run."""
    return ReportInput(
        title,
        run.ranking.device,
        run.budgets,
        run.data,
        run.ranking,
        run.trained,
        run.artifacts,
        run.profiles,
        run.failures,
    )


@dataclass
class Page(HTMLParser):
    """What a page holds. Fails on tags that do not nest."""

    html: str
    open: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    figures: list[dict[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self.feed(self.html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "figure":
            self.figures.append({})
        if "figure" in self.open:
            self.figures[-1][tag] = self.figures[-1].get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        """All visible text."""
        return " ".join(" ".join(self.text).split())


RUNS = {
    "usual": records.run(budgets={"latency_p90_s": 0.0035, "peak_memory_bytes": 2e8}),
    "all_failed": records.run(architectures=()),
    "nothing": records.run(architectures=(), failed=()),
    "one": records.run(architectures=("resnet18d",), failed=()),
    "unmeasured": records.run(architectures=("resnet18d", "dla46_c"), energy=False, memory=False),
    "all_over_budget": records.run(architectures=("resnet18d",), budgets={"latency_p90_s": 1e-9}),
    "auroc": records.run(architectures=("resnet18d", "dla46_c"), metric="auroc"),
}


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {name: Page(render(report(run))) for name, run in RUNS.items()}


@pytest.mark.parametrize("name", RUNS)
def test_page_is_closed_to_the_network(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            value = attributes.get(key)
            assert value is None or value.startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", page.html))
    assert "@import" not in page.html


@pytest.mark.parametrize("name", RUNS)
def test_every_figure_has_a_caption_and_a_label(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    assert len(page.figures) == 11
    assert all(figure.get("figcaption") == 1 for figure in page.figures)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        if tag == "figure":
            assert attributes.get("aria-label") or attributes["aria-labelledby"] in ids
        if tag == "svg":
            assert attributes["role"] == "img"
            assert len(attributes["aria-label"] or "") > 30
        if tag == "a":
            assert (attributes["href"] or "")[1:] in ids


@pytest.mark.parametrize("name", RUNS)
def test_no_row_is_missing(pages: dict[str, Page], name: str) -> None:
    for row in RUNS[name].ranking.rows:
        assert row.candidate in pages[name].words
        assert row.reason in pages[name].words


def test_sections_come_in_order(pages: dict[str, Page]) -> None:
    words = pages["usual"].words
    headings = (
        "deploy mobilenetv3_small_050@64 int8_static: test accuracy 0.87",
        "Before you rely on it",
        "Ranking. 25 models tried",
        "Performance against latency",
        "PePR edge against number of parameters",
        "Validation accuracy after each epoch",
        "Cost of training.",
        "What quantisation changed",
        "Discrimination and calibration.",
        "Resources and bounds.",
        "AssertionError: 64 % 256",
    )
    places = [words.index(heading) for heading in headings]
    assert places == sorted(places)


def test_usual_page_says_what_matters(pages: dict[str, Page]) -> None:
    words = pages["usual"].words
    for sentence in (
        "Dotted: the budget, 3.50 ms.",
        "Hollow: over a budget.",
        "budget 3.50 ms",
        "over budget: latency at p90 3.64 ms, budget 3.50 ms",
        "Other measurements are INVALID, so those ranks may be wrong: mobilenetv2_050@64 int8_static.",
        "INVALID: drift of 14 % from first to last third",
        "5 of 25 broke a budget",
        "7 of 624",
        "15 W per core x CPU seconds (recipe)",
        RUNS["usual"].ranking.set_id,
        records.digest("data"),
        "AMD EPYC 9B14",
        "onnxruntime 1.32.0",
    ):
        assert sentence in words


def test_pareto_front_is_named(pages: dict[str, Page]) -> None:
    labels = [attributes["aria-label"] or "" for tag, attributes in pages["usual"].tags if tag == "svg"]
    assert "no model is better in both: mobilenetv2_050 int8_static" in labels[0]


def test_what_was_not_measured_is_never_0(pages: dict[str, Page]) -> None:
    words = pages["unmeasured"].words
    assert "peak memory not measured, training energy not measured" in words
    assert "Not drawn: training energy was not measured." in words
    assert not re.search(r"\b0(\.0+)? (Wh|MiB|g)\b", words)


def test_without_a_ranked_row_the_answer_says_so(pages: dict[str, Page]) -> None:
    assert "There is no model to deploy" in pages["all_failed"].words
    assert "of 3 tried, 1 failed and 2 broke a budget" in pages["all_over_budget"].words
    assert "Nothing failed." in pages["nothing"].words


def test_markup_stays_text(tmp_path: Path) -> None:
    run = records.run(architectures=("a&amp;b$y_1$", "_hidden", "resnet18d"))
    failure = records.failure(
        "x", reason=f"\x1b[31m{NASTY}\nsecond", log_tail=("</pre>" + NASTY, "\x1b[1m  indented\x07")
    )
    data = records.data_info(labels=(NASTY, "b"), notes=(NASTY,), name=NASTY)
    run = replace(run, failures=(failure,), data=data)
    write(report(run, NASTY), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "\x1b" not in html
    assert "\x07" not in html
    assert f"train: {NASTY} second" in page.words
    assert "  indented" in html
    assert "a&amp;b$y_1$" in page.words


@pytest.mark.slow
def test_forty_candidates_stay_small_and_quick_and_writing_is_atomic(tmp_path: Path) -> None:
    run = records.run(
        architectures=tuple(f"an_architecture_with_a_rather_long_name_{number:02d}" for number in range(40))
    )
    path = tmp_path / "deep" / "report.html"
    begin = time.process_time()
    write(report(run), path)
    assert time.process_time() - begin < 20
    assert path.stat().st_size < 8 * 2**20
    assert sorted(file.name for file in path.parent.iterdir()) == ["report", "report.html"]
    assert not [file.name for file in path.parent.rglob("*.tmp")]
    Page(path.read_text(encoding="utf-8"))


def test_same_records_same_page(pages: dict[str, Page]) -> None:
    assert render(report(RUNS["one"])) == pages["one"].html


def test_an_answer_whose_own_measurement_is_invalid_says_so() -> None:
    run = RUNS["one"]
    best = run.ranking.rows[0]
    profiles = tuple(
        item.model_copy(update={"validity": {"valid": False, "reasons": ("too few queries",)}})
        if item.artifact_sha256 == best.artifact_sha256
        else item
        for item in run.profiles
    )
    profiles = tuple(type(item).model_validate(item.model_dump(warnings=False)) for item in profiles)
    first = best.model_copy(update={"warnings": ()})
    ranking = run.ranking.model_copy(update={"rows": (first, *run.ranking.rows[1:])})
    said = _content(report(replace(run, ranking=ranking, profiles=profiles)), NOTHING_DRAWN)["caveats"]
    assert "Its measurement on the device is INVALID: too few queries." in said
    without = _content(report(replace(run, ranking=ranking, profiles=())), NOTHING_DRAWN)["caveats"]
    assert "The measurement on the device: not measured." in without


def test_long_tables_can_be_filtered_and_scroll_in_a_box_of_their_own(pages: dict[str, Page]) -> None:
    filtered = {
        attributes.get("data-table")
        for _, attributes in pages["usual"].tags
        if attributes.get("class") == "filter"
    }
    assert {"table-ranking", "table-scores", "table-cost"} <= filtered
    assert not {"table-device", "table-depends"} & filtered  # which cannot be sorted either
    assert all(
        "hidden" in attributes for _, attributes in pages["usual"].tags if attributes.get("class") == "filter"
    )
    assert not [1 for _, attributes in pages["one"].tags if attributes.get("class") == "filter"]
    assert sum(attributes.get("class") == "scroll long" for _, attributes in pages["usual"].tags) >= 2


def test_answers_and_devices_have_their_place() -> None:
    run = RUNS["all_failed"]
    winner = DeviceWinner(
        device="old laptop",
        reports=("a.json",),
        winner=None,
        home_winner="x",
        moved=("resnet18d fell.", "Too slow."),
    )
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 2.0]])
    answered = Answered("resnet18d@64", np.array([0, 1, 1, 1]), logits, {"int8_static": logits})
    ranking = run.ranking.model_copy(update={"devices": (winner,)})
    page = Page(render(replace(report(replace(run, ranking=ranking)), answered=(answered,))))
    assert "none to deploy not measured not measured resnet18d fell. Too slow." in page.words
    assert "ROC of resnet18d@64, before and after" in page.words
    assert len(page.figures) == 14


def test_figures_of_the_field_are_said_to_be_of_the_field() -> None:
    run = RUNS["one"]
    result = bench("resnet18d", 0.004, 2**20, valid=False).model_copy(
        update={"artifact_sha256": run.ranking.rows[0].artifact_sha256}
    )
    at_home = report(run)
    content = _content(
        replace(at_home, field={"desk/old.json": field_report(result, cpu="old cpu")}), NOTHING_DRAWN
    )
    caveats = " ".join(content["caveats"])
    assert (
        "Latency and memory are those that devices measured themselves: 1 report from the field." in caveats
    )
    assert "measured on AMD" not in caveats
    (row,) = content["provenance"][0].rows
    assert [cell.text for cell in row[:3]] == [
        "old.json",
        "old cpu",
        f"{run.ranking.rows[0].candidate} {run.ranking.rows[0].variant}",
    ]
    assert row[3].kind == "bad"
    assert "measured on AMD" in " ".join(_content(at_home, NOTHING_DRAWN)["caveats"])
