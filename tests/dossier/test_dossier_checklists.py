"""The checklists: every item, with what the manifest knows, or the reason why it is left to people."""

from __future__ import annotations

import csv
import io

import dossier_manifests
import pytest

from pepr_edge.dossier.checklists import BY_YOU, Checklist, counts, fill, to_csv
from pepr_edge.dossier.claim import CLAIM
from pepr_edge.dossier.tripod import TRIPOD
from pepr_edge.records import Decision, Estimate, Figure, GroupResult, Manifest, Subgroups

BOTH = pytest.mark.parametrize("checklist", [CLAIM, TRIPOD], ids=lambda checklist: checklist.file)
TRIPOD_NUMBERS = (
    "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 18a "
    "18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"
)


def test_all_items_are_there() -> None:
    assert [item.number for item in CLAIM.items] == [str(number) for number in range(1, 45)]
    assert [item.number for item in TRIPOD.items] == TRIPOD_NUMBERS.split()


@BOTH
def test_each_item_has_an_answer_or_a_reason(checklist: Checklist, manifest: Manifest) -> None:
    for made in (manifest, dossier_manifests.full(manifest)):
        for answer in fill(checklist, made):
            assert bool(answer.known) == (answer.state != "by you")
            assert answer.by_you.startswith(f"{BY_YOU}: ") == (answer.state != "from the bundle")
            assert len(answer.by_you) != len(f"{BY_YOU}: ")


@BOTH
def test_a_manifest_that_says_more_leaves_less_to_people(checklist: Checklist, manifest: Manifest) -> None:
    bare = counts(fill(checklist, manifest))
    full = counts(fill(checklist, dossier_manifests.full(manifest)))
    assert full["by you"] < bare["by you"]
    assert full["from the bundle"] > bare["from the bundle"]
    assert sum(full.values()) == len(checklist.items)


def test_answers_hold_the_figures_of_the_manifest(manifest: Manifest) -> None:
    full = dossier_manifests.full(manifest)
    claim = {answer.item.number: answer for answer in fill(CLAIM, full)}
    assert "sha256 " + "a" * 64 in claim["7"].known
    assert claim["8"].known == "All frontal images of adults."
    assert "2 images" in claim["10"].known
    assert "test 211 (111 normal, 100 pneumonia)" in claim["35"].known
    assert "torch 2.9.0+cpu" in claim["23"].known
    assert "sensitivity of its decisions 0.910 (0.860 to 0.960), n = 100" in claim["38"].known
    tripod = {answer.item.number: answer for answer in fill(TRIPOD, full)}
    assert "pneumonia is named from a probability of 0.310 on" in tripod["15"].known
    assert "All classes count equally" in tripod["13"].known


def test_nothing_is_said_that_the_manifest_does_not_say(manifest: Manifest) -> None:
    known = {answer.item.number: answer.state for answer in fill(CLAIM, manifest)}
    for number in ("3", "8", "13", "14", "19", "25", "35", "38", "41"):
        assert known[number] == "by you"


def test_a_spreadsheet_takes_no_cell_for_a_formula(manifest: Manifest) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(fill(CLAIM, dossier_manifests.nasty(manifest))))))
    assert len(rows) == 45
    assert rows[8][4].startswith("'=<script>")
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


def test_several_findings_an_image_have_thresholds_of_their_own(manifest: Manifest) -> None:
    decision = Decision(kind="thresholds", temperatures=(1.0, 2.0), thresholds=(0.25, 0.5), target="youden")
    made = dossier_manifests.full(manifest).replace(task="multilabel", decision=decision)
    output = {answer.item.number: answer.known for answer in fill(TRIPOD, made)}["15"]
    assert "normal 0.250, pneumonia 0.500" in output
    assert "sigmoid" in output
    assert "softmax" not in output
    figure = Estimate(value=0.75, ci=(0.6, 0.9), split="test", n=12)
    made = made.replace(findings={"pneumonia": {"sensitivity_at_decision": figure}, "normal": {}})
    for checklist, number in ((CLAIM, "37"), (TRIPOD, "23a")):
        known = {answer.item.number: answer.known for answer in fill(checklist, made)}[number]
        assert "By finding, on test images: pneumonia: sensitivity of its decisions 0.750" in known


def test_grades_are_decided_by_the_median(manifest: Manifest) -> None:
    made = manifest.replace(task="ordinal", decision=Decision(kind="median"))
    known = {answer.item.number: answer.known for answer in fill(TRIPOD, made)}
    assert "cumulated probability" in known["15"]
    assert known["8a"].startswith("Grades: normal and pneumonia.")


def test_groups_of_patients_are_shown_with_the_worst(manifest: Manifest) -> None:
    groups = tuple(
        GroupResult(
            group=name, n=n, metrics={"accuracy": Figure(value=value, ci=(value - 0.1, value + 0.05))}
        )
        for name, n, value in (("F", 60, 0.9), ("M", 40, 0.8))
    )
    made = manifest.replace(subgroups=(Subgroups(column="sex", metric="accuracy", groups=groups, worst="M"),))
    known = {answer.item.number: answer.known for answer in fill(TRIPOD, made)}
    assert "accuracy by sex: F 0.900 (0.800 to 0.950), n = 60; M 0.800" in known["23a"]
    assert known["14"] in known["23a"]
    assert "Worst group by sex: M 0.800 (0.700 to 0.850), n = 40." in known["26"]
