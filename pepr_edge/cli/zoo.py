"""`pepr-edge zoo`: the architectures."""

from __future__ import annotations

import dataclasses

import click

from pepr_edge.cli.common import common, print_json
from pepr_edge.zoo import architectures


@click.group("zoo")
def command() -> None:
    """The architectures that are known to work."""


@command.command("list")
@click.option("--max-params", type=float, help="At most this many parameters, in millions.")
@click.option("--family", type=click.Choice(["CNN", "Other"], case_sensitive=False), help="CNN, or Other (attention, mixers, searched).")
@click.option("--efficient", is_flag=True, help="Only those that the paper calls efficient.")
@common
def list_(max_params: float | None, family: str | None, efficient: bool, as_json: bool) -> None:
    """The 131 architectures of the PePR paper, fewest parameters first. Any other timm model can be used too, untested."""
    rows = [
        row
        for row in architectures().values()
        if (max_params is None or row.num_params <= max_params * 1e6)
        and (family is None or row.family.lower() == family.lower())
        and (row.efficient or not efficient)
    ]
    if as_json:
        print_json({"architectures": [dataclasses.asdict(row) for row in rows]})
        return
    click.echo(f"{'architecture':<28} {'params':>8}  {'family':<6} {'efficient':<9} native size")
    for row in rows:
        size = f"{row.native_size_px} px{', fixed' if row.fixed_size else ''}"
        click.echo(f"{row.name:<28} {row.num_params / 1e6:>6.1f} M  {row.family:<6} {'yes' if row.efficient else 'no':<9} {size}")
