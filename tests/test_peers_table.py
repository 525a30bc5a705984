"""tools/peers_table.py: the page has every figure, and says where our choice loses."""

from __future__ import annotations

from typing import Any

import made_peers
import pytest
from made_peers import comparison, peer, records, row, table


@pytest.fixture
def two() -> Any:
    return made_peers.two()


def test_the_page_has_every_figure_and_no_lines_that_are_too_long(two: Any) -> None:
    page = table.page(two, "peers.json")
    assert "2 architectures trained on made" in page
    assert "11.1% slower in the worst case (small, ORT fp32), and 1.64 times as fast" in page
    assert "| PyTorch eager | 6.00 | 4.00 | 9.00 | 2 |" in page
    assert "| small | 40 (65.6) | **9 (14.8)** | 4 (6.56) † | 10 (16.4) |" in page
    assert "| large | 90 (148) | **30 (49.2)** | - | 10 (16.4) |" in page
    assert "| small | 4.00 | 0.90 | 0.40 † |" in page
    assert "| small | 2.00 | int8, made | 1.111 |" in page
    assert "94.0 / 94.0, 6" in page
    assert "3 / -" in page  # memory was not measured, which is not 0
    assert "| large | Olive static | was ended by SIGSEGV |" in page
    assert "Olive's environment: olive-ai 8.8" in page
    assert "NNCF's environment: " not in page
    assert all(len(line) <= 140 for line in page.splitlines() if not line.startswith(("|", "    ")))


def test_the_page_says_where_ours_fails_the_gate() -> None:
    small = row("small", peer("eager", 3), peer("ours", 1, wrong=9))
    assert "It fails the gate on small." in table.page(comparison(small), "peers.json")


def test_the_page_says_where_ours_passes_the_gate_by_its_interval_alone() -> None:
    sure = row("sure", peer("eager", 9), peer("onnxruntime", 4), peer("ours", 1))
    lower = row("lower", peer("eager", 9), peer("onnxruntime", 4), peer("ours", 1, wrong=2))
    lower = lower.model_copy(update={"int8": (int8_trial("int8_mixed", "chosen", 0.25),)})
    page = table.page(comparison(sure, lower), "peers.json")
    assert "It passes the gate wherever it ran. On lower its share is below 99 %" in " ".join(page.split())
    assert "is 4.00 times as fast" in page
    assert "below 99 %, it would be 2.00 times." in " ".join(page.split())
    alone = table.page(comparison(sure), "peers.json")
    assert "share is below" not in alone
    assert "it would be" not in alone


def test_the_page_of_one_runtime_says_so_and_how_it_was_made(two: Any) -> None:
    page = table.page(two.model_copy(update={"runtime": "onnxruntime"}), "peers_commodity.json")
    assert "wrote this page from peers_commodity.json" in page
    assert "bfloat16 is not used" in page
    assert "--runtime onnxruntime --out docs/benchmarks/peers_commodity.json" in page
    assert "OpenVINO NNCF" not in page  # no such peer is in a row


def test_a_page_without_rows_can_be_written() -> None:
    assert "0 architectures" in table.page(comparison(), "peers.json")


def int8_trial(variant: str, outcome: str, ratio: float | None, reason: str = "", remedy: str = "") -> Any:
    return records.Int8Trial(
        variant=variant, outcome=outcome, reason=reason, remedy=remedy, ratio_to_float32=ratio
    )


def test_the_page_says_what_stopped_int8(two: Any) -> None:
    trials = (
        int8_trial("int8_static", "quality", 0.5, "accuracy is 31.0% of float32's"),
        int8_trial("int8_mixed", "chosen", 0.6, "the fastest", "3 of 61 nodes left float32: stem"),
        int8_trial("int8_static_entropy", "not tried", None, "no time"),
        int8_trial("int8_dynamic", "not tried", None, "no time"),
    )
    small = two.rows[0].model_copy(update={"int8": trials})
    page = table.page(two.model_copy(update={"rows": (small, two.rows[1])}), "peers.json")
    section = page.split("## int8")[1].split("##")[0]
    assert "1.64 times as fast" in section  # the geometric mean of 0.9 and 3
    assert "0.90 times" in section
    assert "| small | int8_static | 0.50 | quality | accuracy is 31.0% of float32's |" in section
    assert "3 of 61 nodes left float32: stem" in section
    assert "| small | int8_static_entropy, int8_dynamic | - | not tried | no time |" in section


def test_without_autotuning_the_page_has_no_section_on_int8(two: Any) -> None:
    assert "## int8" not in table.page(two, "peers.json")
