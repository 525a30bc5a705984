from __future__ import annotations

from pathlib import Path

import made_images
import numpy as np
import pytest

from pepr_edge.data import DataSettings, prepare
from pepr_edge.data.formats import open_source
from pepr_edge.data.subgroups import of_test
from pepr_edge.errors import DataError

COUNT = 60


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = ["path,label,split,Sex,site,patient,group"]
    for number in range(COUNT):
        made_images.save(tmp_path / f"{number}.png", number)
        site = "one" if number else ""
        split = ("train", "val", "test")[number // 4 % 3]
        rows.append(
            f"{number}.png,{'ab'[number % 2]},{split},{'fm'[number // 2 % 2]},{site},p{number},g{number}"
        )
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "list.csv"


def settings(table: Path, *subgroups: str) -> DataSettings:
    return DataSettings(source=str(table), image_size_px=16, subgroups=subgroups)


def test_the_values_of_the_test_images_are_kept(table: Path, tmp_path: Path) -> None:
    info = prepare(settings(table, "sex", "site"), tmp_path / "prepared")
    sex = info.subgroups["sex"]
    assert sex.names == ("f", "m")
    assert len(sex.test) == info.splits["test"].images
    assert set(sex.test) == {0, 1}
    source = open_source(settings(table, "sex"))
    assert source.subgroups["sex"][:5] == ("f", "f", "m", "m", "f")
    assert {"Sex", "path", "label", "split", "group"} == set(source.columns.used)
    assert prepare(settings(table), tmp_path / "other").subgroups == {}


def test_names_of_small_groups_do_not_leave_the_table() -> None:
    values = ("f",) * 6 + ("m",) * 5 + ("Ada",) * 4 + ("Bob",)
    kept = of_test({"sex": values}, np.arange(len(values)))["sex"]
    assert sorted(kept.names) == ["f", "hidden 1", "hidden 2", "m"]
    assert [kept.names[number] for number in kept.test][-5:] == ["hidden 1"] * 4 + ["hidden 2"]


@pytest.mark.parametrize(
    ("column", "keyword"),
    [("age", "no column 'age'"), ("patient", "at most 20"), ("group", "column of the group")],
)
def test_columns_that_cannot_be_subgroups(column: str, keyword: str, table: Path) -> None:
    with pytest.raises(DataError, match=keyword) as fault:
        open_source(settings(table, column))
    assert "\n" not in str(fault.value)


def test_only_a_table_has_columns() -> None:
    with pytest.raises(DataError, match=r"only a table"):
        open_source(DataSettings(source="phantom", image_size_px=16, subgroups=("sex",)))
