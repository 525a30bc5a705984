from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz_edits import EDITS, apply
from fuzz_targets import CORPUS, TARGETS, parse, runner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EVERY = pytest.mark.parametrize("name", sorted(TARGETS))


@pytest.fixture(autouse=True, scope="module")
def ended_runner() -> Iterator[None]:
    """End the process that ran the models, so that later tests count only children of their own."""
    yield
    runner().close()


@EVERY
def test_valid_inputs_are_accepted(name: str, tmp_path: Path) -> None:
    """Edits of a refused input would find nothing."""
    target = TARGETS[name]
    seeds = target.seeds()
    if not seeds:
        pytest.skip("a package for the seeds is not installed")
    path = tmp_path / f"input{target.suffix}"
    for seed in seeds:
        path.write_bytes(seed)
        target.feed(path)


@EVERY
def test_earlier_findings_raise_only_our_own_errors(name: str, tmp_path: Path) -> None:
    for path in sorted((CORPUS / name).glob("*")):
        assert parse(TARGETS[name], path.read_bytes(), tmp_path).error is None, path.name


@pytest.mark.slow
@EVERY
def test_edited_inputs_raise_only_our_own_errors(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    if not seeds:
        pytest.skip("a package for the seeds is not installed")

    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.sampled_from(seeds), edits=EDITS)
    def fuzz(seed: bytes, edits: list) -> None:  # type: ignore[type-arg]
        outcome = parse(target, apply(seed, edits), tmp_path)
        refused.append(outcome.refused)
        if outcome.error is not None:
            raise outcome.error

    refused: list[bool] = []
    fuzz()
    assert set(refused) == {True, False}  # some edits are refused, some accepted


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the tool limits memory and time as Unix does")
def test_the_tool_runs_a_target() -> None:
    tool = Path(__file__).resolve().parents[2] / "tools" / "fuzz.py"
    words = [sys.executable, str(tool), "--target", "data_csv", "--cases", "20"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "| data_csv | 20 |" in done.stdout
