"""Grams of CO2 equivalent: joules times the carbon intensity of a country's electricity, from the table in this folder.

carbon.csv holds lifecycle intensities of generation by Ember, as published by Our World in Data (CC BY 4.0,
https://ourworldindata.org/grapher/carbon-intensity-electricity), the latest year of each country. Each row says by which
release we have it. Countries published as 0 or for years before 2020 are left out. No overhead of a data centre is added.
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
    """Grams of CO2 equivalent per kilowatt-hour generated in a country in a year. `country` is ISO 3166 alpha-3, WLD the world."""

    country: str
    name: str
    g_per_kwh: float
    year: int
    source: str


@lru_cache(maxsize=1)
def table() -> dict[str, Intensity]:
    """All intensities by code."""
    with (files("pepr_edge.energy") / "carbon.csv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {
            row["country"]: Intensity(
                row["country"], row["name"], float(row["g_per_kwh"]), int(row["year"]), row["source"]
            )
            for row in rows
        }


def intensity(country: str) -> Intensity:
    """Carbon intensity of a country.

    Args:
        country: ISO 3166 alpha-3 in either case, such as "KEN"; "WLD" for the world's mean.
    Raises:
        PeprError: the table has no such code; the nearest ones are named.
    """
    found = table().get(country.strip().upper())
    if found is not None:
        return found
    nearest = ", ".join(f"{row.country} ({row.name})" for row in _nearest(country.strip()))
    raise PeprError(
        f"country = {country!r}, expected a three-letter ISO 3166 code from the carbon table. "
        + (f"Did you mean {nearest}? " if nearest else "")
        + "Otherwise use WLD (World), or leave it out for no CO2 figure."
    )


def co2eq_g(energy: Quantity, country: str | None) -> Quantity:
    """Grams of CO2 equivalent of an energy. Declared at best, since a yearly mean of a country is not a measurement.

    Args:
        energy: joules.
        country: ISO 3166 alpha-3, or None.
    Returns:
        Grams; None where the energy or the country is not known.
    Raises:
        PeprError: the country is not in the table.
    """
    if country is None:
        return Quantity(
            value=None,
            method="unavailable",
            source="no country is given, so its carbon intensity is not known",
        )
    row = intensity(country)
    if energy.value is None:
        return Quantity(value=None, method="unavailable", source=f"no energy figure: {energy.source}")
    grams = energy.value / J_PER_KWH * row.g_per_kwh
    return Quantity(
        value=grams, method="declared", source=f"{row.g_per_kwh:g} g/kWh, {row.name} {row.year}: {row.source}"
    )


def _nearest(country: str) -> list[Intensity]:
    """Rows whose name or code is like it, or whose code has the letters of a two-letter one in their order (DK: DNK)."""
    rows = table()
    by_name = {row.name.casefold(): row for row in rows.values()}
    named = [by_name[name] for name in get_close_matches(country.casefold(), by_name, n=3, cutoff=0.7)]
    code = country.upper()
    if len(code) == 2:
        coded = [row for key, row in rows.items() if key[0] == code[0] and code[1] in key[1:]]
    else:
        close = get_close_matches(code, rows, n=20)
        coded = [rows[key] for key in sorted(close, key=lambda key: key[0] != code[0])][:3]
    return list(dict.fromkeys(named + coded))[:5]
