"""Progress on a terminal and in a log."""

from __future__ import annotations

import re
import time

import click
import pytest

from pepr_edge.cli import progress as module
from pepr_edge.cli.progress import TerminalView

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns."""
    monkeypatch.setattr(module, "show_bars", lambda: True)
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda file: (100, 30))


def lines(capsys: Capture) -> list[str]:
    """Return the drawn lines without control characters."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", capsys.readouterr().err)
    return [line.rstrip() for line in re.split(r"[\r\n]", plain) if line.strip()]


def test_bars_show_the_work_the_share_and_the_remaining_time(
    terminal: None, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_ELAPSED_S", 0.0)
    view = TerminalView()
    with view.bar("candidates") as outer, view.bar("epochs") as inner:
        outer.update(0, 4)
        inner.update(5, 10, "small train epoch 2/4, best accuracy 0.762")
        time.sleep(0.11)  # tqdm does not draw more often
        inner.update(6, 10, "small train epoch 3/4, best accuracy 0.781")
        view.say("a line that stays")
        outer.update(1, 4, "best accuracy 0.781 by small")
        inner.drawn.refresh()
        outer.drawn.refresh()
    drawn = lines(capsys)
    assert all(len(line) <= 100 for line in drawn)
    assert "a line that stays" in drawn
    assert any(
        re.match(r"small train epoch 3/4, best accuracy 0.781  60% \|.*\| 00:00, 00:00 left", line)
        for line in drawn
    )
    # 60 % of the first of four candidates
    assert any(re.match(r"candidates: 0 of 4  15% ", line) for line in drawn)
    assert any(re.match(r"candidates: 1 of 4, best accuracy 0.781 by small  25% ", line) for line in drawn)
    # the next candidate has not begun
    later = drawn[drawn.index("a line that stays") :]
    assert any(re.match(r"epochs  0% ", line) for line in later)


def test_a_bar_never_goes_back_within_an_item(terminal: None) -> None:
    view = TerminalView()
    with view.bar("candidates") as outer, view.bar("epochs") as inner:
        outer.update(0, 2)
        inner.update(9, 10, "train")
        inner.update(1, 2, "export")
        assert outer.drawn.n == pytest.approx(0.45)
        outer.update(2, 2)
        assert outer.drawn.n == 1.0
        outer.update(0, 7)
        assert outer.drawn.n == 0.0


def test_the_clock_advances_without_progress(
    terminal: None, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REDRAW_S", 0.01)
    with TerminalView().bar("images"):
        time.sleep(0.1)
    assert len(lines(capsys)) >= 3


@click.command()
def command() -> None:
    view = TerminalView()
    with view.bar("candidates") as outer, view.bar("epochs") as inner:
        outer.update(1, 4)
        for done in range(3):
            inner.update(done, 10, f"small train epoch {done}/10")


def test_without_a_terminal_lines_are_printed_from_time_to_time(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLAIN_S", 0.0)
    command.main([], standalone_mode=False)
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1] == "candidates: 1 of 4; small train epoch 2/10"
    monkeypatch.setattr(module, "PLAIN_S", 3600.0)
    command.main([], standalone_mode=False)
    assert capsys.readouterr() == ("", "")
