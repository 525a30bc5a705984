"""The table of pretrained weights agrees with timm."""

from __future__ import annotations

import pytest
import timm
from timm.models import get_pretrained_cfg

from pepr_edge.zoo import architectures
from pepr_edge.zoo.pretrained import pretrained_weights


def test_every_architecture_has_weights_of_its_own_in_the_table() -> None:
    table = pretrained_weights()
    assert list(table) == list(architectures())
    assert len({weights.name for weights in table.values()}) == len(table)
    assert all(bool(weights.repository) != bool(weights.url) for weights in table.values())


@pytest.mark.parametrize("name", pretrained_weights())
def test_the_table_says_what_timm_says(name: str) -> None:
    """In another version of timm the default may differ; the weights of the table must be there."""
    weights = pretrained_weights()[name]
    config = get_pretrained_cfg(weights.name)
    assert config is not None
    assert not config.custom_load
    assert config.interpolation == weights.interpolation
    assert (config.license or "unknown") == weights.licence
    if weights.repository:
        assert config.hf_hub_id == weights.repository
    else:
        assert config.url == weights.url
    assert timm.is_model(weights.name.partition(".")[0])


def test_renamed_architectures_have_the_weights_of_their_new_names() -> None:
    assert pretrained_weights()["gluon_resnet34_v1b"].name == "resnet34.gluon_in1k"
    assert pretrained_weights()["adv_inception_v3"].name == "inception_v3.tf_adv_in1k"


def test_weights_that_fit_one_size_are_of_architectures_with_a_fixed_size() -> None:
    known = architectures()
    limited = [name for name, weights in pretrained_weights().items() if weights.only_px is not None]
    assert len(limited) == 6
    assert all(known[name].fixed_size and known[name].native_size_px == 256 for name in limited)
