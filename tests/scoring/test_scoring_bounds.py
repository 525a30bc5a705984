from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound
from pepr_edge.scoring.bounds import read_bounds, read_reference

E = Bound(lo=1.0, hi=3.0, unit="J")


def written(folder: Path, document: Any) -> Path:
    path = folder / "bounds.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize(
    "document",
    [
        {"energy": {"lo": 1, "hi": 3, "unit": "J"}},
        {
            "bounds": {"energy": {"lo": 1.0, "hi": 3.0, "unit": "J", "method": ""}},
            "rows": [],
            "normalise": "minmax",
        },
        {"groups": [{"group": None, "bounds": {"energy": {"lo": 1, "hi": 3, "unit": "J"}, "latency": None}}]},
    ],
)
def test_every_form_is_read(tmp_path: Path, document: Any) -> None:
    path = written(tmp_path, document)
    assert read_bounds(path) == {"energy": E}
    assert read_reference(path).bounds_of("any", ["energy"]) == {"energy": E}


def test_a_pair_is_a_bound(tmp_path: Path) -> None:
    assert read_bounds(written(tmp_path, {"energy": [1, 3]})) == {"energy": Bound(lo=1.0, hi=3.0, unit="")}


def test_a_resource_may_be_called_bounds_or_groups(tmp_path: Path) -> None:
    path = written(tmp_path, {"bounds": {"lo": 0, "hi": 1}, "groups": [0, 2]})
    assert set(read_bounds(path)) == {"bounds", "groups"}


def groups(**highest: float) -> dict[str, Any]:
    """Bounds of groups by name, from 0 to the given value."""
    bounds = {name: {"energy": {"lo": 0, "hi": hi}} for name, hi in highest.items()}
    return {"groups": [{"group": name, "bounds": bound} for name, bound in bounds.items()]}


def test_a_group_gets_the_bounds_of_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, groups(lidc=1, derma=2))
    assert read_reference(path).bounds_of("derma")["energy"].hi == 2
    with pytest.raises(ScoreError, match=r"bounds\.json: .+'bach'.+'lidc', 'derma'"):
        read_reference(path).bounds_of("bach")
    with pytest.raises(ScoreError, match=r"bounds\.json: several groups.+'lidc', 'derma'"):
        read_bounds(path)


def test_a_single_set_with_another_name_serves_no_group(tmp_path: Path) -> None:
    path = written(tmp_path, groups(derma=2))
    assert read_bounds(path)["energy"].hi == 2
    with pytest.raises(ScoreError, match=r"bounds\.json: .+'lidc'.+'derma'"):
        read_reference(path).bounds_of("lidc")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "not JSON"),
        ("[1, 2]", "not bounds"),
        ({"energy": {"lo": 3, "hi": 1}}, "energy has lo = 3.0 and hi = 1.0, expected 0 <= lo <= hi"),
        ({"energy": [-1, 1]}, "expected 0 <= lo <= hi"),
        ('{"energy": [0, NaN]}', "NaN, which is no number"),
        ('{"energy": [0, Infinity]}', "Infinity, which is no number"),
        ('{"energy": [0, 1e999]}', "1e999.*too large"),
        ('{"energy": [0, 1], "energy": [0, 2]}', "the key energy twice"),
        ('{"energy\\u001b[2J": [0, 1]}', "control characters"),
        ({"energy": {"lo": 0}}, "energy.hi"),
        ({"energy": {"lo": 0, "hi": "1"}}, "energy.hi"),
        ({"energy": {"lo": 0, "hi": 1, "mean": 0.5}}, "energy.mean"),
        ({"energy": 3}, "energy = 3, expected its lo and hi"),
        ({"latency": [0, 1]}, "no bounds for resource 'energy', has latency"),
        ({}, "no bounds for resource 'energy', has none"),
        ({"groups": [{"group": "a"}]}, "a group without bounds"),
    ],
)
def test_invalid_bounds_give_an_error_on_one_line(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(ScoreError, match=message) as fault:
        read_reference(written(tmp_path, document)).bounds_of(None, ["energy"])
    assert "\n" not in str(fault.value)
    assert str(tmp_path) in str(fault.value)


def test_the_error_for_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="no such file"):
        read_bounds(tmp_path / "none.json")
    with pytest.raises(ScoreError, match="cannot be read"):
        read_bounds(tmp_path)
