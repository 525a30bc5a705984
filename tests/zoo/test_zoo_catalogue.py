from __future__ import annotations

import re

import made_records
import pytest

from pepr_edge.zoo import architectures, catalogue, nearest


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
        # A size in the name is the native size.
        size = re.search(r"_(2\d\d)$", row.name)
        if size is not None:
            assert row.native_size_px == int(size[1]), row
            assert row.fixed_size, row


def test_names_parameters_and_families_are_those_of_the_paper() -> None:
    # timm has dropped the old name of one architecture.
    renamed = {"gluon_xception65": "xception65"}
    rows = made_records.paper("architectures.csv")
    expected = {
        renamed.get(row["model"], row["model"]): (
            int(row["num_params_1000_classes"]),
            row["family"],
            row["efficient"] == "1",
        )
        for row in rows
    }
    assert {
        row.name: (row.num_params, row.family, row.efficient) for row in architectures().values()
    } == expected


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


def test_accepted_sizes() -> None:
    rows = architectures()
    assert rows["resnet18d"].accepts(33)
    assert not rows["resnet18d"].accepts(31)
    assert [size for size in (64, 128, 192, 256, 512) if rows["halonet26t"].accepts(size)] == [256, 512]
    assert [size for size in (64, 74, 75, 80) if rows["adv_inception_v3"].accepts(size)] == [75, 80]
    assert {rows[name].check_px for name in ("resnet18d", "dla34")} == {64}
    assert (
        rows["adv_inception_v3"].check_px,
        rows["halo2botnet50ts_256"].check_px,
        rows["bat_resnext26ts"].check_px,
    ) == (75, 128, 256)


def test_every_quirk_has_a_reason_and_every_check_size_is_accepted() -> None:
    for row in architectures().values():
        assert row.accepts(row.check_px), row
        assert row.accepts(row.native_size_px), row
        assert (row.quirk == "") == ((row.min_px, row.multiple_of_px) == (32, 1)), row
        assert row.sizes


def test_every_quirk_belongs_to_an_architecture_of_the_zoo() -> None:
    named = " ".join(names for names, *_ in catalogue._SIZES).split()
    assert len(named) == len(set(named))
    assert set(named) <= set(architectures())
