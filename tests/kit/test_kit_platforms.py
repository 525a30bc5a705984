from __future__ import annotations

import pytest

from pepr_edge.kit.platforms import PLATFORMS


def test_the_platforms_are_those_of_the_contract() -> None:
    assert list(PLATFORMS) == ["linux-x86_64", "linux-aarch64", "win-amd64", "macos-arm64"]


@pytest.mark.parametrize(
    ("name", "first", "has"),
    [
        (
            "linux-x86_64",
            "manylinux_2_28_x86_64",
            {"manylinux2014_x86_64", "manylinux_2_12_x86_64", "manylinux1_x86_64"},
        ),
        ("linux-aarch64", "manylinux_2_28_aarch64", {"manylinux2014_aarch64", "manylinux_2_17_aarch64"}),
        ("win-amd64", "win_amd64", set()),
        ("macos-arm64", "macosx_14_0_arm64", set()),
    ],
)
def test_the_tags_go_from_new_to_old(name: str, first: str, has: set[str]) -> None:
    tags = PLATFORMS[name].tags
    assert tags[0] == first
    assert has <= set(tags)
    assert len(set(tags)) == len(tags)


def test_arm_has_no_tag_from_before_it_was_there() -> None:
    assert not {"manylinux_2_12_aarch64", "manylinux2010_aarch64", "manylinux1_aarch64"} & set(
        PLATFORMS["linux-aarch64"].tags
    )


def test_markers_are_those_of_the_device() -> None:
    markers = PLATFORMS["win-amd64"].markers("3.10")
    assert (markers["platform_system"], markers["sys_platform"], markers["os_name"]) == (
        "Windows",
        "win32",
        "nt",
    )
    assert (markers["python_version"], markers["python_full_version"]) == ("3.10", "3.10.0")
