"""Tables and wrapped text for a terminal."""

from __future__ import annotations

from pepr_edge.text.tables import WIDTH, aligned_table, clip, clip_middle, wrapped, wrapped_table


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    rows = [("model", "ms"), ("a_long_name", "1.5"), ("b", "10"), ("mean",)]
    assert aligned_table(rows, "lr") == ["model         ms", "a_long_name  1.5", "b             10", "mean"]
    assert aligned_table(rows[2:], "lr", gap=" ", indent="  ") == ["  b    10", "  mean"]


def test_the_last_column_is_wrapped() -> None:
    lines = wrapped_table(("name", "reason"), [("a", "word " * 40), ("b", "")])
    assert lines[0] == "name  reason"
    assert all(len(line) <= WIDTH for line in lines)
    assert sum(line.count("word") for line in lines) == 40
    assert lines[2].startswith("      word")


def test_a_per_cent_sign_stays_beside_its_number() -> None:
    lines = wrapped("x" * (WIDTH - 3) + " 95 % of all")
    assert lines == ["x" * (WIDTH - 3), "  95 % of all"]


def test_clip_marks_the_cut_at_the_end() -> None:
    assert clip("short", 8) == "short"
    assert clip("much too long", 8) == "much ..."


def test_clip_middle_keeps_the_end() -> None:
    assert clip_middle("short", 16) == "short"
    clipped = clip_middle("mobilenetv3_small_050@224", 16)
    assert len(clipped) == 16
    assert clipped.endswith("@224")
