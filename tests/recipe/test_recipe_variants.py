from __future__ import annotations

from pathlib import Path

import pytest

from pepr_edge.errors import RecipeError
from pepr_edge.recipe import variants, variants_dir
from pepr_edge.recipe.variants import Auto, Quantise, autotune_variants, load, names

FP32 = 'name = "mine"\ndescription = "d"\nprecision = "float32"\nparity_tolerance = 0.001\n'
INT8, DYNAMIC, MIXED = (
    FP32.replace("float32", name) + "[quantise]\n" for name in ("int8", "int8_dynamic", "int8_mixed")
)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Write a variant's file that replaces the variants of pepr_edge."""
    monkeypatch.setattr(variants, "variants_dir", lambda: tmp_path)

    def put(text: str, name: str = "mine") -> None:
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")

    return put


@pytest.mark.parametrize("name", sorted(path.stem for path in variants_dir().glob("*.toml")))
def test_every_variant_that_comes_with_pepr_edge_loads(name: str) -> None:
    assert load(name).name == name


def test_fp32_and_int8_static_match_their_names() -> None:
    assert (load("fp32").precision, load("fp32").quantise) == ("float32", None)
    int8 = load("int8_static")
    assert int8.precision == "int8"
    assert int8.quantise == Quantise(
        activation="uint8", weight="int8", per_channel=True, calibration_images=512
    )
    assert load("fp32").parity_tolerance < int8.parity_tolerance


def test_an_own_variant_loads(write) -> None:  # type: ignore[no-untyped-def]
    write(INT8 + "calibration_images = 7\n")
    assert load("mine").quantise == Quantise(calibration_images=7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FP32 + "tolerance = 1\n", r"tolerance: unknown key\. Did you mean 'parity_tolerance'\?"),
        (INT8 + "per_chanel = true\n", r"quantise\.per_chanel: unknown key\."),
        (INT8 + "calibration_images = 0\n", r"quantise\.calibration_images = 0, expected an integer >= 1\."),
        (INT8 + 'weight = "int4"\n', r'quantise\.weight = "int4", expected one of \'int8\' or \'uint8\''),
        (FP32.replace("float32", "float8"), r'precision = "float8", expected one of'),
        (FP32.replace("0.001", "0"), r"parity_tolerance = 0, expected a number > 0"),
        (FP32.replace('description = "d"\n', ""), r"description: missing"),
        (
            FP32 + "[quantise]\n",
            r"expected no \[quantise\] table with precision \"float32\"",
        ),
        (
            FP32.replace("float32", "float16") + "[quantise]\n",
            r"expected no \[quantise\] table with precision \"float16\"",
        ),
        (FP32.replace("float32", "int8"), r"expected a \[quantise\] table with precision \"int8\""),
        (
            FP32.replace("float32", "int8_dynamic"),
            r"expected a \[quantise\] table with precision \"int8_dynamic\"",
        ),
        (
            INT8 + 'operators = ["Add"]\n',
            r'quantise\.operators.* = "Add", expected one of \'Conv\', \'Gemm\' or \'MatMul\'',
        ),
        (
            INT8 + "outputs = false\n",
            r"expected named operators",
        ),
        (INT8 + 'preset = "avx3"\n', r'quantise\.preset = "avx3", expected one of'),
        (
            INT8 + 'preset = "avx2"\nweight = "int8"\nper_channel = true\n',
            r"expected no per_channel, weight beside a preset",
        ),
        (
            DYNAMIC + 'calibration = "minmax"\n',
            r'expected no quantise\.calibration .*"int8_dynamic", which takes operators, per_channel',
        ),
        (DYNAMIC + 'preset = "avx2"\n', r'expected no quantise\.preset with precision "int8_dynamic"'),
        (MIXED + 'operators = ["Conv"]\n', r'expected no quantise\.operators with precision "int8_mixed"'),
        (FP32 + "[auto]\n", r"auto\.order: missing"),
        (FP32 + "[auto]\norder = -1\n", r"auto\.order = -1, expected an integer >= 0"),
        (
            FP32 + '[auto]\norder = 1\nneeds = ["avx2", "mmx"]\n',
            r"expected instruction sets among ssse3, .*mmx",
        ),
        (FP32 + '[auto]\norder = 1\nproviders = ["npu"]\n', r'auto\.providers.* = "npu", expected one of'),
        (
            FP32 + "[auto]\norder = 1\nproviders = []\n",
            r"auto\.providers = \[\], expected at least one entry",
        ),
        ("name = ", r"not a TOML file"),
        (FP32.replace('"mine"', '"yours"'), r"name = 'yours', expected 'mine'"),
    ],
)
def test_a_faulty_file_is_reported(write, text: str, words: str) -> None:  # type: ignore[no-untyped-def]
    write(text)
    with pytest.raises(RecipeError, match=rf"mine\.toml: .*{words}"):
        load("mine")


def test_all_faults_are_reported_at_once(write) -> None:  # type: ignore[no-untyped-def]
    write(INT8.replace("0.001", "-1") + 'colour = "red"\nper_channel = 3\n')
    with pytest.raises(RecipeError) as caught:
        load("mine")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all("mine.toml: " in line for line in lines)


@pytest.mark.parametrize("name", ["int9", "../export/fp32", "", "/fp32"])
def test_an_unknown_name_lists_the_known_names(name: str) -> None:
    with pytest.raises(RecipeError, match=r"unknown variant, .*fp16, fp32, .*int8_static") as caught:
        load(name)
    assert repr(name) in str(caught.value)


X86 = ("ssse3", "sse4_2", "avx", "avx2", "fma", "f16c")
VNNI = (*X86, "avx512f", "avx512bw", "avx512vl", "avx512_vnni")
ARM = ("asimd", "asimddp", "asimdhp", "fphp")
FIRST = [
    "fp32",
    "int8_kernels",
    "int8_static",
    "int8_inputs",
    "int8_pointwise",
    "int8_weighted",
    "int8_static_per_tensor",
    "fp32_optimised",
]
RESCUE = ["int8_static_percentile", "int8_static_entropy", "int8_mixed"]


@pytest.mark.parametrize(
    ("isa", "between"),
    [
        (VNNI, ["optimum_avx512_vnni", "int8_dynamic"]),
        (X86, ["optimum_avx2", "int8_dynamic", "int8_static_reduced"]),
        ((*X86, "avx_vnni"), ["optimum_avx2", "int8_dynamic"]),
        (ARM, ["optimum_arm64", "int8_dynamic", "fp16"]),
        (("asimd",), ["optimum_arm64", "int8_dynamic", "int8_static_reduced"]),
        (("neon",), ["optimum_arm64", "int8_dynamic", "int8_static_reduced"]),
        ((), ["int8_dynamic", "int8_static_reduced"]),
    ],
)
def test_the_instruction_sets_decide_which_variants_a_processor_tries(
    isa: tuple[str, ...], between: list[str]
) -> None:
    tried = autotune_variants(isa, "cpu")
    assert [variant.name for variant in tried] == FIRST + between + RESCUE
    assert [variant.name for variant in tried if variant.auto and variant.auto.rescue] == RESCUE


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "directml"])
@pytest.mark.parametrize("isa", [X86, ARM, ()])
def test_the_variants_of_a_gpu_do_not_depend_on_the_processor(provider: str, isa: tuple[str, ...]) -> None:
    assert [variant.name for variant in autotune_variants(isa, provider)] == ["fp32", "fp16"]


def test_a_variant_without_auto_is_not_tried(write) -> None:  # type: ignore[no-untyped-def]
    write(FP32 + "[auto]\norder = 3\n")
    write(FP32.replace("mine", "late") + "[auto]\norder = 4\n", "late")
    write(FP32.replace("mine", "named") + "", "named")
    assert names() == ["late", "mine", "named"]
    assert [variant.name for variant in autotune_variants(X86, "cpu")] == ["mine", "late"]


@pytest.mark.parametrize(
    ("needs", "lacks", "fits"),
    [
        ((), (), True),
        (("avx2",), (), True),
        (("neon", "avx2"), (), True),
        (("neon",), (), False),
        ((), ("avx2",), False),
        (("avx",), ("neon",), True),
    ],
)
def test_needs_one_and_lacks_all(needs: tuple[str, ...], lacks: tuple[str, ...], fits: bool) -> None:
    assert Auto(order=1, needs=needs, lacks=lacks).fits(X86, "cpu") is fits


def test_each_variant_is_unique_and_starts_with_a_comment() -> None:
    known = [load(name) for name in names()]
    without_names = [variant.model_copy(update={"name": "", "auto": None}) for variant in known]
    assert len({variant.model_dump_json() for variant in without_names}) == len(known)
    for variant in known:
        text = (variants_dir() / f"{variant.name}.toml").read_text(encoding="utf-8")
        assert text.startswith("# ")
        assert variant.name == "fp32" or text.split("schema_version")[0].count("\n") >= 2


def test_variants_that_share_a_calibration_use_the_same_number_of_images() -> None:
    """They are calibrated once for all of them: see `pepr_edge.export.prepare`."""
    images = set()
    for variant in map(load, names()):
        quantise = variant.quantise
        if quantise and quantise.calibration == "minmax" and variant.precision != "int8_dynamic":
            images.add(quantise.calibration_images)
    assert images == {512}
