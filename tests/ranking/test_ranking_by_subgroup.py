from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_records import N_VAL, entry, results

from pepr_edge.bundle.card_subgroups import subgroups_section
from pepr_edge.ranking import rank
from pepr_edge.records import GroupValues, Ranking
from pepr_edge.report.subgroups import subgroups_table
from pepr_edge.report.terminal import subgroups_table as subgroups_text
from pepr_edge.run_dir.reader import Results


@pytest.fixture
def run(tmp_path: Path) -> Results:
    """A run whose models are wrong on the last 20 of 200 test images, which are half of the men."""
    made = results(tmp_path, entry(tmp_path, "small"), entry(tmp_path, "large"))
    for name in ("small", "large"):
        path = tmp_path / f"{name}@64" / "fp32" / "predictions.npz"
        with np.load(path) as stored:
            logits = stored["val"][:, :2]
            labels = stored["val_labels"]
        np.savez(path, val=logits, val_labels=labels, test=logits, test_labels=labels)
    return made


def with_groups(run: Results, **columns: GroupValues) -> Results:
    info = run.info.replace(data=run.info.data.replace(subgroups=columns))
    return dataclasses.replace(run, info=info)


def men(last: int) -> GroupValues:
    return GroupValues(names=("f", "m"), test=(0,) * (N_VAL - last) + (1,) * last)


def test_ranked_rows_have_their_subgroups(run: Results) -> None:
    ranking = rank(with_groups(run, sex=men(40)))
    for row in ranking.rows:
        (sex,) = row.subgroups
        assert [(group.group, group.n) for group in sex.groups] == [("f", 160), ("m", 40)]
        assert (sex.metric, sex.worst) == ("accuracy", "m")
        accuracy = sex.groups[1].metrics["accuracy"]
        assert accuracy is not None
        assert accuracy.value == 0.5
        assert accuracy.ci[0] < 0.5 < accuracy.ci[1]
        assert sex.groups[1].metrics["sensitivity_at_decision"] is not None
    assert Ranking.model_validate_json(ranking.model_dump_json()) == ranking
    assert "0.500 (0.352 to 0.648)       worst" in subgroups_text(ranking)
    table = subgroups_table(ranking)
    assert table is not None
    assert [cell.text for cell in table.rows[1]][-2:] == ["0.500 (0.352 to 0.648)", "worst"]


def test_small_groups_are_hidden_and_without_groups_nothing_is_said(run: Results) -> None:
    ranking = rank(with_groups(run, sex=men(4), site=men(100)))
    sex, site = ranking.rows[0].subgroups
    assert (sex.groups, sex.hidden_groups) == ((), 2)
    assert len(site.groups) == 2
    assert "2 groups of sex" in subgroups_text(ranking)
    home = rank(run)
    assert home.rows[0].subgroups == ()
    assert (subgroups_text(home), subgroups_table(home)) == ("", None)
    # Of another test set: nothing can be said.
    other = rank(with_groups(run, sex=GroupValues(names=("f",), test=(0,) * 7)))
    assert other.rows[0].subgroups == ()


def test_the_card_has_them(run: Results, manifest) -> None:  # type: ignore[no-untyped-def]
    columns = rank(with_groups(run, sex=men(40))).rows[0].subgroups
    text = subgroups_section(manifest.replace(subgroups=columns))
    assert "sex: m" in text
    assert "0.500 (0.352 to 0.648)" in text
    assert subgroups_section(manifest) == ""
