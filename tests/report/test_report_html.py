"""report.html: complete for every kind of run, self-contained, accessible, escaped."""

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

from pepr_edge.records import DeviceWinner, ImageFacts, InitialWeights, RunSettings, Validity
from pepr_edge.report.html import PageFigures, ReportInput, _content, render, write
from pepr_edge.report.predictions import ModelPredictions
from pepr_edge.report.tables import scores

VOID = {"meta", "br", "hr", "img", "link", "input"}
LINKS = ("src", "href", "xlink:href", "srcset", "action", "data", "poster")
NASTY = "<script>alert('x')</script>&\"$y_1$"


def caveats(report: ReportInput) -> list[str]:
    """Return the caveats of a page, without drawing its figures."""
    found: tuple[str, ...] = _content(report, PageFigures())["caveats"]
    return list(found)


@dataclass
class Page(HTMLParser):
    """The content of a page. Fails on tags that do not nest."""

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
        """All visible text on one line."""
        return " ".join(" ".join(self.text).split())

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        """Return the attributes of the tags of a class."""
        return [attributes for _, attributes in self.tags if attributes.get("class") == name]


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
    return {name: Page(render(records.report_input(run))) for name, run in RUNS.items()}


@pytest.mark.parametrize("name", RUNS)
def test_a_page_loads_nothing_from_the_network(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    for _, attributes in page.tags:
        for key in LINKS:
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
def test_every_row_is_on_the_page(pages: dict[str, Page], name: str) -> None:
    for row in RUNS[name].ranking.rows:
        assert row.candidate in pages[name].words
        assert row.reason in pages[name].words


def test_sections_come_in_order(pages: dict[str, Page]) -> None:
    words = pages["usual"].words
    headings = (
        "deploy mobilenetv3_small_050@64 int8_static: test accuracy 0.87",
        "Before you rely on it",
        "Ranking. 25 models",
        "Performance against latency",
        "PePR edge against number of parameters",
        "Validation accuracy after each epoch",
        "Cost of training.",
        "Effect of quantisation",
        "Discrimination and calibration.",
        "Resources and bounds.",
        "AssertionError: 64 % 256",
    )
    places = [words.index(heading) for heading in headings]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "part",
    [
        "budget, 3.50 ms.",
        "Hollow:",
        "budget 3.50 ms",
        "rejected: latency at p90 3.64 ms, budget 3.50 ms",
        "INVALID, so these ranks may be wrong: mobilenetv2_050@64 int8_static.",
        "INVALID: drift of 14 % from first to last third",
        "5 of 25 models",
        "7 of 624",
        "15 W per core x CPU seconds (recipe)",
        RUNS["usual"].ranking.set_id,
        records.digest("data"),
        "AMD EPYC 9B14",
        "onnxruntime 1.32.0",
    ],
)
def test_the_usual_page_has_figures_reasons_and_sources(pages: dict[str, Page], part: str) -> None:
    assert part in pages["usual"].words


def test_the_pareto_front_is_named(pages: dict[str, Page]) -> None:
    labels = [attributes["aria-label"] or "" for tag, attributes in pages["usual"].tags if tag == "svg"]
    assert "better in both: mobilenetv2_050 int8_static" in labels[0]


def test_a_missing_figure_is_never_0(pages: dict[str, Page]) -> None:
    words = pages["unmeasured"].words
    assert "peak memory not measured, training energy not measured" in words
    assert "Not drawn: training energy was not measured." in words
    assert not re.search(r"\b0(\.0+)? (Wh|MiB|g)\b", words)


def test_without_a_ranked_row_there_is_no_answer(pages: dict[str, Page]) -> None:
    assert "no model to deploy" in pages["all_failed"].words
    assert "of 3 models, 1 failed and 2 rejected" in pages["all_over_budget"].words
    assert "Nothing failed." in pages["nothing"].words


def test_markup_stays_text(tmp_path: Path) -> None:
    failure = records.failure(
        "x", reason=f"\x1b[31m{NASTY}\nsecond", log_tail=("</pre>" + NASTY, "\x1b[1m  indented\x07")
    )
    run = replace(
        records.run(architectures=("a&amp;b$y_1$", "_hidden", "resnet18d")),
        failures=(failure,),
        data=records.data_info(labels=(NASTY, "b"), notes=(NASTY,), name=NASTY),
    )
    write(records.report_input(run, NASTY), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "\x1b" not in html
    assert "\x07" not in html
    assert f"train: {NASTY} second" in page.words
    assert "  indented" in html
    assert "a&amp;b$y_1$" in page.words


@pytest.mark.slow
def test_forty_candidates_stay_small_and_fast_and_writing_is_atomic(tmp_path: Path) -> None:
    names = tuple(f"an_architecture_with_a_rather_long_name_{number:02d}" for number in range(40))
    report = records.report_input(records.run(architectures=names))
    path = tmp_path / "deep" / "report.html"
    begin = time.process_time()
    write(report, path)
    assert time.process_time() - begin < 20
    assert path.stat().st_size < 8 * 2**20
    assert sorted(file.name for file in path.parent.iterdir()) == [".pepr_edge", "report", "report.html"]
    assert not [file.name for file in path.parent.rglob("*.tmp")]
    Page(path.read_text(encoding="utf-8"))


def test_the_same_records_give_the_same_page(pages: dict[str, Page]) -> None:
    assert render(records.report_input(RUNS["one"])) == pages["one"].html


def test_an_invalid_measurement_of_the_best_model_is_a_caveat() -> None:
    run = RUNS["one"]
    best, *others = run.ranking.rows
    invalid = Validity(valid=False, reasons=("too few queries",))
    profiles = tuple(
        profile.model_copy(update={"validity": invalid})
        if profile.artifact_sha256 == best.artifact_sha256
        else profile
        for profile in run.profiles
    )
    rows = (best.model_copy(update={"warnings": ()}), *others)
    run = replace(run, ranking=run.ranking.model_copy(update={"rows": rows}), profiles=profiles)
    assert any("INVALID: too few queries." in caveat for caveat in caveats(records.report_input(run)))
    unmeasured = records.report_input(replace(run, profiles=()))
    assert any("not measured on the device" in caveat for caveat in caveats(unmeasured))


def test_long_tables_have_a_filter_and_scroll_in_a_box(pages: dict[str, Page]) -> None:
    filters = pages["usual"].of_class("filter")
    filtered = {attributes.get("data-table") for attributes in filters}
    assert {"table-ranking", "table-scores", "table-cost"} <= filtered
    assert not {"table-device", "table-depends"} & filtered  # they cannot be sorted either
    assert all("hidden" in attributes for attributes in filters)
    assert not pages["one"].of_class("filter")
    assert len(pages["usual"].of_class("scroll long")) >= 2


def test_scores_have_both_numbers_of_parameters_where_they_differ() -> None:
    ranking = RUNS["one"].ranking
    best, *others = ranking.rows
    assert best.num_params is not None
    merged = best.replace(trained_params=2 * best.num_params)
    table = scores(ranking.replace(rows=(merged, *others)))
    number = table.header.index("parameters")
    assert table.rows[0][number].detail == f"{2 * best.num_params:,} in training"
    assert scores(ranking).rows[0][number].detail == ""


def test_predictions_and_devices_are_on_the_page() -> None:
    winner = DeviceWinner(
        device="old laptop",
        reports=("a.json",),
        winner=None,
        home_winner="x",
        moved=("resnet18d fell.", "Too slow."),
    )
    run = RUNS["all_failed"]
    run = replace(run, ranking=run.ranking.model_copy(update={"devices": (winner,)}))
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 2.0]])
    labels = np.array([0, 1, 1, 1])
    predictions = ModelPredictions("resnet18d@64", labels, logits, {"int8_static": logits})
    page = Page(render(replace(records.report_input(run), predictions=(predictions,))))
    assert "none to deploy not measured not measured resnet18d fell. Too slow." in page.words
    assert "ROC of resnet18d@64" in page.words
    assert len(page.figures) == 14


def test_all_seeds_of_a_training_are_listed() -> None:
    shown = records.report_input(RUNS["one"])
    once = Page(render(shown))
    assert "Each candidate was trained once." in once.words
    name = shown.trained[0].candidate.id
    repeats = (*shown.trained, shown.trained[0].replace(seed=1))
    page = Page(render(replace(shown, repeats=repeats)))
    assert f"{name} seed 0" in page.words
    assert f"{name} seed 1" in page.words
    assert "One row for each seed." in page.words
    assert "the mean over seeds" in page.words


def test_measurements_from_the_field_are_named_as_such() -> None:
    run = RUNS["one"]
    best = run.ranking.rows[0]
    at_home = records.report_input(run)
    assert "measured on AMD" in " ".join(caveats(at_home))
    result = bench("resnet18d", 0.004, 2**20, valid=False)
    result = result.model_copy(update={"artifact_sha256": best.artifact_sha256})
    field_reports = {"desk/old.json": field_report(result, cpu="old cpu")}
    content = _content(replace(at_home, field=field_reports), PageFigures())
    text = " ".join(content["caveats"])
    assert "1 field report" in text
    assert "measured on AMD" not in text
    (row,) = content["provenance"][0].rows
    assert [cell.text for cell in row[:3]] == ["old.json", "old cpu", f"{best.candidate} {best.variant}"]
    assert row[3].kind == "bad"


def test_a_run_shows_its_time_by_stage() -> None:
    times = {"images": 2.0, "training": 90.0, "repeats": 0.0, "other": 8.0}
    content = _content(replace(records.report_input(RUNS["one"]), stage_times_s=lambda: times), PageFigures())
    (table,) = (table for table in content["provenance"] if table.name == "times")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["images", "2.00 s", "2.0 %"],
        ["training", "90.0 s", "90.0 %"],
        ["other", "8.00 s", "8.0 %"],
        ["all", "100 s", "100.0 %"],
    ]
    without = _content(records.report_input(RUNS["one"]), PageFigures())
    assert all(table.name != "times" for table in without["provenance"])


def test_settings_from_the_images_stand_with_the_trainings() -> None:
    facts = ImageFacts(train_images=546, classes=2, side_px=28)
    settings = RunSettings(facts=facts, epochs=61)
    report = replace(records.report_input(RUNS["one"]), settings=settings)
    tables = _content(report, PageFigures())["provenance"]
    (caption,) = (table.caption for table in tables if "61 epochs" in table.caption)
    assert "546 training images" in caption


def test_the_initial_weights_of_a_training_have_their_name_and_licence() -> None:
    report = records.report_input(RUNS["one"])
    first = report.trained[0]
    begun = first.replace(
        candidate=first.candidate.replace(weights="pretrained"),
        weights_match="order",
        weights_notes=("the file has no classifier",),
    )
    weights = {
        first.candidate.id: InitialWeights(
            kind="pretrained", source="weights_dir", name="resnet18.a1_in1k", licence="apache-2.0"
        )
    }
    changed = replace(report, trained=(begun, *report.trained[1:]), weights=weights)
    tables = {table.name: table for table in _content(changed, PageFigures())["provenance"]}
    cell = tables["training"].rows[0][1]
    assert cell.text == "pretrained"
    assert "resnet18.a1_in1k, licence apache-2.0" in cell.detail
    assert "order and shape; the file has no classifier" in cell.detail
