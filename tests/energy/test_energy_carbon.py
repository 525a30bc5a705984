"""The carbon table row by row, and grams from joules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.energy.carbon import co2eq_g, intensity, table
from pepr_edge.errors import PeprError
from pepr_edge.records import Quantity


def test_every_row_is_plausible() -> None:
    rows = table()
    assert len(rows) > 200
    assert list(rows) == sorted(rows)
    assert len({row.name for row in rows.values()}) == len(rows)
    for code, row in rows.items():
        assert code == row.country
        assert len(code) == 3
        assert code.isascii()
        assert code.isupper()
        assert row.name
        # Hydropower alone is 24 g/kWh (Ember); nothing generates at more than 1.4 kg.
        assert 20 <= row.g_per_kwh <= 1400, row
        assert 2020 <= row.year <= 2025, row
        assert row.source.startswith("Our World in Data from Ember")
        assert row == intensity(code.lower())


def test_low_resource_countries_and_the_world_are_there() -> None:
    africa = ("ETH", "KEN", "NGA", "TZA", "UGA", "MWI", "MDG", "COD", "NAM")
    for code in (*africa, "NPL", "BGD", "PAK", "HTI", "AFG", "WLD"):
        assert intensity(code).country == code


def test_published_values() -> None:
    assert (intensity("DNK").g_per_kwh, intensity("DNK").year) == (143.30042, 2024)
    assert (intensity("WLD").g_per_kwh, intensity("WLD").year) == (471.08, 2024)


@pytest.mark.parametrize(
    ("code_or_name", "hint"),
    [
        ("DK", "DNK (Denmark)"),
        ("ke", "KEN (Kenya)"),
        ("Denmark", "DNK (Denmark)"),
        ("Tanzanya", "TZA (Tanzania)"),
        ("DNL", "DNK"),
    ],
)
def test_an_unknown_code_names_the_nearest(code_or_name: str, hint: str) -> None:
    with pytest.raises(PeprError) as caught:
        intensity(code_or_name)
    message = str(caught.value)
    assert f"country = {code_or_name!r}" in message
    assert hint in message
    assert "\n" not in message


@pytest.mark.parametrize("code_or_name", ["", "1", "??", "QQQQQQ"])
def test_nonsense_is_refused(code_or_name: str) -> None:
    with pytest.raises(PeprError, match="three-letter"):
        intensity(code_or_name)


def test_one_kilowatt_hour() -> None:
    grams = co2eq_g(Quantity(value=3.6e6, method="measured", source="RAPL"), "dnk")
    assert grams.value == pytest.approx(143.30042)
    assert grams.method == "declared"
    assert "Denmark 2024" in grams.source
    assert "Our World in Data" in grams.source


@given(st.floats(0, 1e12, allow_nan=False), st.sampled_from(sorted(table())))
def test_grams_are_in_proportion_and_never_measured(energy_j: float, country: str) -> None:
    grams = co2eq_g(Quantity(value=energy_j, method="measured"), country)
    assert grams.value == pytest.approx(energy_j / 3.6e6 * intensity(country).g_per_kwh)
    assert grams.method == "declared"


def test_an_unknown_energy_or_country_gives_no_figure() -> None:
    energy = Quantity(value=None, method="unavailable", source="no counter")
    assert co2eq_g(energy, "KEN") == Quantity(
        value=None, method="unavailable", source="no energy figure: no counter"
    )
    no_country = co2eq_g(Quantity(value=1.0, method="measured"), None)
    assert no_country.value is None
    assert no_country.method == "unavailable"
    with pytest.raises(PeprError):
        co2eq_g(energy, "ATLANTIS")
