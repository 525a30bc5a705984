"""Checks of a few small architectures, each in its own process, and processes that die."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from one_thread import one_thread  # noqa: F401
from torch import nn

from pepr_edge import zoo
from pepr_edge.errors import ExportError, ModelError, OutputError, RunError
from pepr_edge.records import Parity
from pepr_edge.train.models import create
from pepr_edge.zoo.check import architecture as work
from pepr_edge.zoo.check import markdown, sweep
from pepr_edge.zoo.check.network import candidate, train_briefly
from pepr_edge.zoo.check.row import CheckJob, CheckRow

# One architecture for each way of building a network that could break a stage.
SOME = (
    "dla46x_c",
    "mobilevitv2_050",
    "mobilenetv2_050",
    "pvt_v2_b0",
    "convnext_atto",
    "ghostnet_100",
    "eca_botnext26ts_256",
    "lambda_resnet26rpt_256",
    "resnetaa50",
    "adv_inception_v3",
    "poolformer_s12",  # built like the zoo's poolformer_m36, with a fifth of its parameters
)
GOOD = {"key": "k", "in_zoo": True, "image_size_px": 64, "num_params": 1_000_000}


def job(architecture: str = "test_efficientnet", size_px: int | None = 32) -> CheckJob:
    return CheckJob(key="a key", architecture=architecture, image_size_px=size_px, threads=1)


def assert_passed(row: CheckRow) -> None:
    """Assert that a row passed every stage."""
    assert (row.status, row.reason, row.stage) == ("ok", "", "done")
    assert row.parity is not None
    assert row.parity.passed
    assert row.parity.batches == (1, 3, 8)
    assert row.dynamic_batch is True
    assert row.int8 is not None
    assert 0.3 < (row.decisions_agree or 0) <= 1  # chance is a half, and the network has hardly been trained
    assert row.fp32_size_bytes > row.int8_size_bytes > 0  # type: ignore[operator]
    for seconds in (row.train_s, row.export_s, row.quantise_s, row.fp32_latency_s, row.int8_latency_s):
        assert seconds is not None
        assert seconds > 0


def ignore(progress: object) -> None:
    """Ignore the progress."""


@pytest.mark.slow
def test_a_sweep_reuses_its_rows(tmp_path: Path) -> None:
    seen: list[sweep.SweepProgress] = []
    (first,) = sweep.sweep(["test_efficientnet"], 32, tmp_path, seen.append)
    assert_passed(first)
    assert (first.in_zoo, first.note) == (False, work.UNTESTED)
    assert first.versions["torch"] == torch.__version__.split("+")[0]
    assert [step.stage for step in seen] == ["create", "train", "export", "int8", "latency", "done"]
    assert (seen[-1].row, seen[-1].reused) == (first, False)
    assert (tmp_path / "test_efficientnet@32.json").is_file()
    assert sweep.sweep(["test_efficientnet"], 32, tmp_path, seen.append) == [first]
    assert seen[-1].reused


def test_a_failed_row_is_tried_again_and_one_of_other_versions_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def fake(job: CheckJob, *_: object) -> CheckRow:
        made.append(job.key)
        return CheckRow(
            key=job.key,
            architecture=job.architecture,
            in_zoo=True,
            status="failed" if len(made) == 1 else "ok",
        )

    monkeypatch.setattr(sweep, "check_in_process", fake)
    names = ["resnet18d"]
    assert [sweep.sweep(names, None, tmp_path, ignore)[0].status for _ in range(3)] == ["failed", "ok", "ok"]
    assert len(made) == 2
    monkeypatch.setattr(sweep, "versions", lambda: {"torch": "99"})
    sweep.sweep(names, None, tmp_path, ignore)
    assert len(made) == 3
    assert made[0] == made[1] != made[2]


def test_a_changed_row_is_kept_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sweep,
        "check_in_process",
        lambda job, *_: CheckRow(key=job.key, architecture=job.architecture, in_zoo=True, status="ok"),
    )
    row = tmp_path / "resnet18d@64.json"
    assert sweep.sweep(["resnet18d"], None, tmp_path, ignore)[0].status == "ok"
    assert sweep.sweep(["resnet18d"], 64, tmp_path, ignore)[0].status == "ok"
    row.write_text('{"key": "')
    with pytest.raises(OutputError, match="resnet18d@64"):
        sweep.sweep(["resnet18d"], None, tmp_path, ignore)
    assert row.read_text() == '{"key": "'


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path) -> None:
    with sweep.locked(tmp_path), pytest.raises(RunError, match="in use by process"):
        sweep.sweep(["resnet18d"], None, tmp_path, ignore)


def test_all_unknown_names_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        sweep.sweep(["resnet18d", "resnet18dd", "nonsense_net"], None, tmp_path, ignore)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[:2] for line in lines] == [["--only", " resnet18dd"], ["--only", " nonsense_net"]]
    assert "Did you mean 'resnet18d'?" in lines[0]


def dies(job: str, folder: str, log: str, connection: Connection) -> None:
    connection.send(("stage", "train"))
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(job: str, folder: str, log: str, connection: Connection) -> None:
    connection.send(("stage", "export"))
    time.sleep(60)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.slow
def test_a_process_that_dies_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_child", dies)
    row = sweep.check_in_process(job(), tmp_path / "log", 60, ignore)
    assert (row.status, row.stage) == ("failed", "train")
    assert "status -9 (killed" in row.reason


@pytest.mark.slow
def test_a_process_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_child", hangs)
    start = time.monotonic()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    row = sweep.check_in_process(job(), tmp_path / "log", 3, ignore)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []  # its ONNX files are removed too
    assert row.status == "failed"
    assert " 3 s" in row.reason
    assert time.monotonic() - start < 30


def test_a_size_that_an_architecture_cannot_take_is_a_reason(tmp_path: Path) -> None:
    row = work.check(job("dla46_c", 40), tmp_path, ignore)
    assert (row.status, row.stage, row.image_size_px) == ("failed", "create", 40)
    assert row.reason.startswith("dla46_c: cannot take images of 40 px")
    assert row.parity is None


def test_results_before_a_failure_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> str:
        raise ExportError("onnxruntime cannot quantise this graph")

    monkeypatch.setattr(work, "convert", refuse)
    row = work.check(job(), tmp_path, ignore)
    assert (row.status, row.stage, row.reason) == ("failed", "int8", "onnxruntime cannot quantise this graph")
    assert row.exporter == "torchscript"
    assert row.dynamic_batch
    assert row.int8 is None


def test_an_int8_file_with_constant_logits_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(work, "onnx_logits", lambda *_: np.zeros((16, 2), np.float32))
    row = work.check(job(), tmp_path, ignore)
    assert (row.status, row.stage) == ("failed", "int8")
    assert "every image" in row.reason


@pytest.mark.slow
def test_an_architecture_with_branches_is_checked_in_its_deployed_form(tmp_path: Path) -> None:
    row = work.check(job("mobileone_s0", 64), tmp_path, ignore)
    assert_passed(row)
    assert (row.num_params, row.form_note) == (1_054_690, "")
    assert row.trained_params == 4_269_362


def test_a_name_outside_the_zoo_is_checked_at_an_accepted_size() -> None:
    assert work._create(job("vit_tiny_patch16_224", None))[0] == 224
    assert work._create(job("test_efficientnet", None))[0] == zoo.CHECK_PX


def test_a_trained_network_has_varying_logits_and_fitting_statistics() -> None:
    wanted = candidate("test_efficientnet", 32)
    torch.manual_seed(0)
    model = create(wanted)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = train_briefly(wanted, model)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name, _ in model.named_parameters()} <= changed
    assert network.spread > 0.01
    assert network.expected.shape == (len(network.check_pixels), 2)
    assert not {image.tobytes() for image in network.train_pixels} & {
        image.tobytes() for image in network.check_pixels
    }
    outputs: list[torch.Tensor] = []
    first = next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    hook = first.register_forward_pre_hook(lambda layer, inputs: outputs.append(inputs[0]))
    with torch.no_grad():
        model(torch.from_numpy(work.to_tensor(network.train_pixels, network.spec)))
    hook.remove()
    assert torch.allclose(outputs[0].mean((0, 2, 3)), first.running_mean, atol=1e-4)  # type: ignore[arg-type]


class Constant(nn.Module):
    """Gives the same logits for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(len(images), 2)


class Exploding(Constant):
    """Gives infinite logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(len(images), 2) * torch.inf


@pytest.mark.parametrize(
    ("model", "words"),
    [(Constant(), "same for every image"), (Exploding(), "loss .* is nan")],
)
def test_a_network_unfit_for_the_check_is_an_error(model: nn.Module, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        train_briefly(candidate("test_efficientnet", 32), model)


def test_the_page_has_one_row_each_and_names_failures() -> None:
    parity = Parity(images=16, batches=(1, 3, 8), max_abs_diff=1e-6, tolerance=1e-4, passed=True)
    good = CheckRow(
        **GOOD,
        architecture="resnet18d",
        status="ok",
        exporter="torchscript",
        dynamic_batch=True,
        parity=parity,
        spread=0.1,
        int8="as asked",
        export_s=1.0,
        quantise_s=2.0,
        decisions_agree=0.9375,
        fp32_latency_s=2e-3,
        int8_latency_s=1e-3,
        versions={"torch": "2.9"},
    )
    remedied = good.model_copy(
        update={"architecture": "resnet26d", "int8": "normalisation left in float", "export_s": 5.0}
    )
    merged = good.model_copy(update={"architecture": "repvgg_a2", "trained_params": 2_000_000})
    refused = good.model_copy(update={"architecture": "vgg11", "form_note": "the logits differ"})
    bad = CheckRow(
        **GOOD,
        architecture="dla34",
        stage="train",
        reason="no loss",
        versions={"torch": "2.9"},
        note="odd strides",
    )
    page = markdown.page([good, remedied, merged, refused, bad], "pepr-edge zoo check")
    assert "`pepr-edge zoo check` with torch 2.9. 4 of 5 " in page
    assert "| repvgg_a2 | 64 px | from 32 px | 1.0 M (2.0 M in training) | torchscript |" in page
    assert re.search("4.0 s .* 7 s at most", page)
    cells = (
        "resnet18d | 64 px | from 32 px | 1.0 M | torchscript | yes | 1e-05 | yes | 94 % | 2.00 | 1.00 | 3.0"
    )
    assert f"| {cells} |" in page
    assert "| dla34 | 64 px | multiples of 32 px | 1.0 M | - | FAILED | - | FAILED | - | - | - | - |" in page
    assert "- dla34 (train): no loss" in page
    assert "- resnet26d: normalisation left in float." in page
    assert "- vgg11: the logits differ." in page
    assert "- dla34: odd strides." in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 5
    assert len({line.count("|") for line in table}) == 1


@given(
    st.lists(
        st.builds(
            CheckRow,
            key=st.just("k"),
            architecture=st.sampled_from([*zoo.architectures(), "vit_tiny"]),
            in_zoo=st.booleans(),
            status=st.sampled_from(["ok", "failed"]),
            spread=st.none() | st.floats(0, 1e6),
            export_s=st.none() | st.floats(0, 1e6),
            quantise_s=st.none() | st.floats(0, 1e6),
            int8=st.none() | st.sampled_from(["as asked", "per tensor"]),
            versions=st.just({}),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_rows_make_a_page(rows: list[CheckRow]) -> None:
    page = markdown.page(rows, "c")
    assert sum(line.startswith("|") for line in page.splitlines()) == 2 + len(rows)
    assert page.count("- ") >= sum(row.status == "failed" for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_some_of_the_zoo_pass_every_stage(name: str, tmp_path: Path) -> None:
    known = zoo.architectures().get(name)
    size_px = 64 if known is None else known.check_px
    assert_passed(work.check(job(name, size_px), tmp_path, ignore))
