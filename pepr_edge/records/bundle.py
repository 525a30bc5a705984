"""Records of a bundle: its manifest and its self-test."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pepr_edge.records.about import About
from pepr_edge.records.base import Count, Estimate, NonNegative, Record, Sha256, TaskKind, Versioned
from pepr_edge.records.data import DataFacts, Preprocess
from pepr_edge.records.decision import Decision
from pepr_edge.records.evaluation import Subgroups
from pepr_edge.records.export import Form, Quality
from pepr_edge.records.measurement import DeviceProfile
from pepr_edge.records.ranking import Bound
from pepr_edge.records.training import TrainCost


class SelfTestSpec(Record):
    """When a bundle's selftest.npz passes: logits within `tolerance`, and every decision the same.

    Of its `n` images, the last `real_images` come from the data that the model was validated on; the others
    are generated.
    """

    n: Count
    tolerance: NonNegative
    real_images: Count = 0


class TensorSpec(Record):
    """Name, type and shape of a model's input or output; -1 is the batch."""

    name: str
    dtype: str = "float32"
    shape: Annotated[tuple[int, ...], Field(max_length=8)]


class Fallback(Record):
    """The float32 file beside a model of another variant, used where that model fails its self-test.

    `decision` is its own; None in bundles of earlier versions.
    """

    file: str
    variant: str
    selftest: SelfTestSpec
    decision: Decision | None = None


class Seeds(Record):
    """What the trainings of a candidate reach that differ in their seed alone; the best of them is deployed.

    `count` seeds were trained. Means and sample standard deviations of the performance over the seeds, on
    validation (of the exported file, as far as known) and on test (of PyTorch's models).
    """

    count: int
    val_mean: float | None = None
    val_sd: float | None = None
    test_mean: float | None = None
    test_sd: float | None = None


class Manifest(Versioned):
    """manifest.json of a bundle: all that is needed to use the model, and where it comes from.

    `task` says what a label is; None in bundles of earlier versions, where it is one of the labels. If an
    image may have several, `findings` has the test figures of each, at its threshold.
    `data` and `about`, the words of the makers, are None in bundles of earlier versions. `subgroups`: test
    performance by the columns that the recipe names.

    `profile` is the measurement of the run; its `settings` are those of the runtime. `seeds` is None for a
    model that was trained once. `num_params` are the parameters of the deployed form. `form` has those of the
    trained form, too, and `quality` is the quality gate's judgement; both are None in bundles of version
    0.1.0, where the deployed form is the trained one. `decision` is how logits become a probability and a
    class; None in bundles of earlier versions: the highest logit decides, uncalibrated. `novelty` is the
    second output of the model, how unlike the training images an image is; None: the model has one output.
    """

    architecture: str
    variant: str
    image_size_px: int
    num_params: int
    form: Form | None = None
    task: TaskKind | None = None
    labels: tuple[str, ...]
    preprocess: Preprocess
    input: TensorSpec
    output: TensorSpec
    novelty: TensorSpec | None = None
    performance: dict[str, Estimate]
    performance_metric: str
    train_cost: TrainCost
    profile: DeviceProfile
    pepr: dict[str, float | None]
    rank: int
    bounds: dict[str, Bound]
    set_id: str
    selftest: SelfTestSpec
    fallback: Fallback | None = None
    seeds: Seeds | None = None
    quality: Quality | None = None
    decision: Decision | None = None
    findings: dict[str, dict[str, Estimate]] = Field(default={})
    subgroups: tuple[Subgroups, ...] = ()
    data: DataFacts | None = None
    about: About | None = None
    provenance: dict[str, str | int | float | dict[str, str] | None]
    files: dict[str, Sha256]

    @property
    def kind(self) -> TaskKind:
        """What a label is."""
        by_labels: TaskKind = "binary" if len(self.labels) == 2 else "multiclass"
        return self.task or by_labels

    def decision_of(self, fallback: bool) -> Decision | None:
        """Return the decision of the model, or of the fallback if there is one."""
        if fallback and self.fallback is not None:
            return self.fallback.decision
        return self.decision

    def has_novelty(self, fallback: bool) -> bool:
        """True if the model, or the fallback, has the second output."""
        decision = self.decision_of(fallback)
        return decision is not None and decision.refer is not None and decision.refer.max_novelty is not None
