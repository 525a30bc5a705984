"""CO2 equivalent of an energy, by the carbon intensity of a country's electricity.

carbon.csv holds lifecycle intensities of generation by Ember, as published by Our World in Data (CC BY 4.0,
https://ourworldindata.org/grapher/carbon-intensity-electricity), the latest year of each country. Each row
names the release that it comes from. Countries published as 0 or for years before 2020 are left out. The
overhead of a data centre is not added.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files

from pepr_edge.errors import PeprError
from pepr_edge.records import Quantity

J_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Intensity:
    """Grams of CO2 equivalent per kilowatt-hour generated in a country in a year.

    `country` is an ISO 3166 alpha-3 code; WLD is the world.
    """

    country: str
    name: str
    g_per_kwh: float
    year: int
    source: str


@lru_cache(maxsize=1)
def table() -> dict[str, Intensity]:
    """Return all intensities by country code."""
    with (files("pepr_edge.energy") / "carbon.csv").open(encoding="utf-8") as file:
        return {row["country"]: _intensity(row) for row in csv.DictReader(file)}


def _intensity(row: dict[str, str]) -> Intensity:
    return Intensity(row["country"], row["name"], float(row["g_per_kwh"]), int(row["year"]), row["source"])


def intensity(country: str) -> Intensity:
    """Return the carbon intensity of a country.

    Args:
        country: ISO 3166 alpha-3 in upper or lower case, such as "KEN"; "WLD" for the world's mean.
    Raises:
        PeprError: the code is not in the table; the message names similar codes.
    """
    row = table().get(country.strip().upper())
    if row is not None:
        return row
    similar = ", ".join(f"{row.country} ({row.name})" for row in _similar(country.strip()))
    suggestion = f"Did you mean {similar}? " if similar else ""
    raise PeprError(
        f"country = {country!r}, expected a three-letter ISO 3166 code from the carbon table. {suggestion}"
        "Otherwise use WLD (World), or remove the country for no CO2 figure."
    )


def co2eq_g(energy: Quantity, country: str | None) -> Quantity:
    """Return the CO2 equivalent of an energy, grams.

    It is "declared" at best, because the yearly mean of a country is no measurement.

    Args:
        energy: joules.
        country: ISO 3166 alpha-3, or None.
    Returns:
        Grams; None if the energy or the country is not known.
    Raises:
        PeprError: the country is not in the table.
    """
    if country is None:
        source = "no country is given, so its carbon intensity is not known"
        return Quantity(value=None, method="unavailable", source=source)
    row = intensity(country)
    if energy.value is None:
        return Quantity(value=None, method="unavailable", source=f"no energy figure: {energy.source}")
    grams = energy.value / J_PER_KWH * row.g_per_kwh
    source = f"{row.g_per_kwh:g} g/kWh, {row.name} {row.year}: {row.source}"
    return Quantity(value=grams, method="declared", source=source)


def _similar(country: str) -> list[Intensity]:
    """Return rows with a similar name or code.

    A two-letter code matches the codes that hold its letters in order (DK: DNK).
    """
    rows = table()
    rows_by_name = {row.name.casefold(): row for row in rows.values()}
    names = get_close_matches(country.casefold(), rows_by_name, n=3, cutoff=0.7)
    code = country.upper()
    if len(code) == 2:
        codes = [key for key in rows if key[0] == code[0] and code[1] in key[1:]]
    else:
        close = get_close_matches(code, rows, n=20)
        codes = sorted(close, key=lambda key: key[0] != code[0])[:3]
    matches = [rows_by_name[name] for name in names] + [rows[key] for key in codes]
    return list(dict.fromkeys(matches))[:5]
