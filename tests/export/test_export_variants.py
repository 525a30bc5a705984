from __future__ import annotations

from pathlib import Path

import pytest

from pepr_edge.errors import RecipeError
from pepr_edge.export import variants
from pepr_edge.export.variants import Quantise, load
from pepr_edge.recipe import variants_dir

FP32 = 'name = "mine"\ndescription = "d"\nprecision = "float32"\nparity_tolerance = 0.001\n'
INT8 = FP32.replace("float32", "int8") + "[quantise]\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Put a variant's file into the place of those that come with pepr_edge."""
    monkeypatch.setattr(variants, "variants_dir", lambda: tmp_path)

    def put(text: str, name: str = "mine") -> None:
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")

    return put


@pytest.mark.parametrize("name", sorted(path.stem for path in variants_dir().glob("*.toml")))
def test_every_variant_that_comes_with_pepr_edge_loads(name: str) -> None:
    assert load(name).name == name


def test_fp32_and_int8_static_are_what_their_names_say() -> None:
    assert (load("fp32").precision, load("fp32").quantise) == ("float32", None)
    int8 = load("int8_static")
    assert int8.precision == "int8"
    assert int8.quantise == Quantise(activation="uint8", weight="int8", per_channel=True, calibration_images=512)
    assert load("fp32").parity_tolerance < int8.parity_tolerance


def test_a_variant_of_ones_own_loads(write) -> None:  # type: ignore[no-untyped-def]
    write(INT8 + "calibration_images = 7\n")
    assert load("mine").quantise == Quantise(calibration_images=7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FP32 + "tolerance = 1\n", r"tolerance: unknown key\. Did you mean 'parity_tolerance'\?"),
        (INT8 + "per_chanel = true\n", r"quantise\.per_chanel: unknown key\."),
        (INT8 + "calibration_images = 0\n", r"quantise\.calibration_images = 0, expected an integer >= 1\."),
        (INT8 + 'weight = "int4"\n', r'quantise\.weight = "int4", expected one of \'int8\' or \'uint8\''),
        (FP32.replace("float32", "float16"), r'precision = "float16", expected one of'),
        (FP32.replace("0.001", "0"), r"parity_tolerance = 0, expected a number > 0"),
        (FP32.replace('description = "d"\n', ""), r"description: missing"),
        (FP32 + "[quantise]\n", r"with precision \"int8\", and none with \"float32\""),
        (FP32.replace("float32", "int8"), r"a \[quantise\] table with precision \"int8\""),
        ("name = ", r"not a TOML file"),
        (FP32.replace('"mine"', '"yours"'), r"name = 'yours', expected 'mine', the file's own name"),
    ],
)
def test_a_faulty_file_says_what_is_wrong(write, text: str, words: str) -> None:  # type: ignore[no-untyped-def]
    write(text)
    with pytest.raises(RecipeError, match=rf"mine\.toml: .*{words}"):
        load("mine")


def test_all_faults_are_told_at_once(write) -> None:  # type: ignore[no-untyped-def]
    write(INT8.replace("0.001", "-1") + 'colour = "red"\nper_channel = 3\n')
    with pytest.raises(RecipeError) as caught:
        load("mine")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all("mine.toml: " in line for line in lines)


@pytest.mark.parametrize("name", ["int9", "../export/fp32", "", "/fp32"])
def test_an_unknown_name_lists_those_there_are(name: str) -> None:
    with pytest.raises(RecipeError, match=r"unknown variant, expected some of fp32, int8_static.*\. Mend the name\.") as caught:
        load(name)
    assert repr(name) in str(caught.value)
