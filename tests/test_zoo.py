from __future__ import annotations

import re

import made_records
import pytest

from pepr_edge.zoo import architectures, nearest


def test_131_architectures_fewest_parameters_first() -> None:
    rows = list(architectures().values())
    assert len(rows) == 131
    assert [row.num_params for row in rows] == sorted(row.num_params for row in rows)
    assert all(name == row.name for name, row in architectures().items())


def test_every_row_is_plausible() -> None:
    for row in architectures().values():
        assert re.fullmatch(r"[a-z0-9_]+", row.name), row
        assert row.family in ("CNN", "Other"), row
        assert 128 <= row.native_size_px <= 384, row
        # A name that holds a size means it.
        if (named := re.search(r"_(2\d\d)$", row.name)) is not None:
            assert row.native_size_px == int(named[1]), row
            assert row.fixed_size, row


def test_names_parameters_and_families_are_those_of_the_paper() -> None:
    # timm dropped the second name of one architecture since.
    renamed = {"gluon_xception65": "xception65"}
    rows = made_records.paper("architectures.csv")
    expected = {
        renamed.get(row["model"], row["model"]): (int(row["num_params_1000_classes"]), row["family"], row["efficient"] == "1")
        for row in rows
    }
    assert {row.name: (row.num_params, row.family, row.efficient) for row in architectures().values()} == expected


def test_timm_knows_every_name() -> None:
    timm = pytest.importorskip("timm")
    assert [name for name in architectures() if not timm.is_model(name)] == []


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("resnet18", "resnet18d"),
        ("mobilenetv2_50", "mobilenetv2_050"),
        ("convnext_ato", "convnext_atto"),
        ("???", None),
        ("vit_giant", None),
    ],
)
def test_nearest_suggests_a_name_or_none(name: str, suggested: str | None) -> None:
    assert nearest(name) == suggested


def test_nearest_among_other_names() -> None:
    assert nearest("resnet18", ["vit_tiny", "resnet10t"]) == "resnet10t"
    assert nearest("resnet18", []) is None
