from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_edits import EDITS, apply
from fuzz_targets import CORPUS, TARGETS, fed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EVERY = pytest.mark.parametrize("name", sorted(TARGETS))


@EVERY
def test_whole_inputs_are_taken(name: str, tmp_path: Path) -> None:
    """Else the fuzzing would begin with what is refused, and find nothing."""
    target = TARGETS[name]
    seeds = target.seeds()
    if not seeds:
        pytest.skip("what makes the seeds is not installed")
    path = tmp_path / f"input{target.suffix}"
    for seed in seeds:
        path.write_bytes(seed)
        target.feed(path)


@EVERY
def test_what_was_found_once_is_one_line_of_ours(name: str, tmp_path: Path) -> None:
    for path in sorted((CORPUS / name).glob("*")):
        assert fed(TARGETS[name], path.read_bytes(), tmp_path).fault is None, path.name


@pytest.mark.slow
@EVERY
def test_only_our_own_errors_come_out(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    if not seeds:
        pytest.skip("what makes the seeds is not installed")

    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.sampled_from(seeds), edits=EDITS)
    def fuzz(seed: bytes, edits: list) -> None:  # type: ignore[type-arg]
        found = fed(target, apply(seed, edits), tmp_path)
        refused.append(found.refused)
        if found.fault is not None:
            raise found.fault

    refused: list[bool] = []
    fuzz()
    assert set(refused) == {True, False}  # it is hostile, and gets past the first check
