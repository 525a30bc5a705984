"""Tables for `pepr-edge score`, and what the command says of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import command_line

Score = Callable[..., command_line.Outcome]
SMALL = "group,model,acc,energy_j,latency_s\na,one,0.8,10,1\na,two,0.9,30,2\nb,one,0.7,5,\nb,two,0.6,inf,3\n"
E = ("--performance", "acc", "--resource", "E=energy_j")
BOTH = (*E, "--resource", "L=latency_s")


def document(done: command_line.Outcome) -> dict[str, Any]:
    assert done.status == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
