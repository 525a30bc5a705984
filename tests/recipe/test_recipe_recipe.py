from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge.errors import RecipeError
from pepr_edge.recipe import PAPER, Budgets, Recipe, Train, find, recipes_dir, variants_dir
from pepr_edge.recipe.toml import parse, read
from pepr_edge.scoring.metrics import performance_fault
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.untrusted.shown import CONTROL
from pepr_edge.zoo import architectures

SMALLEST = """
name = "smallest"
[device]
name = "a device"
[candidates]
architectures = ["resnet18d"]
"""
SHIPPED = sorted(recipes_dir().glob("*.toml"))
# The authors' name of each recipe that is one of their experiments. Source: github.com/saintslab/PePR.
PAPER_RECIPES = {
    "paper_derma_pretrained_100": "derma_pt",
    "paper_derma_pretrained_10": "derma_small",
    "paper_derma_scratch_100": "derma",
    "paper_derma_scratch_10": None,
    "paper_lidc_pretrained_100": "lidc",
    "paper_lidc_pretrained_10": "lidc_small",
    "paper_lidc_scratch_100": None,
    "paper_lidc_scratch_10": None,
    "paper_pneumonia_pretrained_100": "pneumonia",
    "paper_pneumonia_pretrained_10": "pneumonia_small",
    "paper_pneumonia_scratch_100": None,
    "paper_pneumonia_scratch_10": None,
}


def recipe(more: str = "") -> Recipe:
    return parse(SMALLEST + more, Recipe, "r.toml")


def faults(text: str) -> list[str]:
    with pytest.raises(RecipeError) as fault:
        parse(text, Recipe, "r.toml")
    return str(fault.value).splitlines()


def test_the_smallest_recipe_has_defaults_for_the_rest() -> None:
    found = recipe()
    assert found.candidates.image_size_px == (64,)
    assert found.export.variants == ("fp32", "int8_static")
    assert found.score.weights == {"train_energy": 1.0, "latency": 1.0, "peak_memory": 1.0}
    assert (found.seed, found.train, found.budgets.si(), found.bundles.top) == (0, Train(), {}, None)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_complete(path: Path) -> None:
    found = read(path, Recipe)
    assert found.name == path.stem
    assert found.description
    assert all((variants_dir() / f"{name}.toml").is_file() for name in found.export.named)


def test_there_are_recipes_and_quickstart_is_one() -> None:
    assert "quickstart" in {path.stem for path in SHIPPED}


def test_all_faults_of_a_recipe_at_once_each_with_file_and_key() -> None:
    text = """
        name = "wrong"
        seeed = 1
        [device]
        thread = 2
        [budgets]
        latency_p90_ms = -1
        [candidates]
        image_size_px = [64, 8]
        [train]
        epochs = 0
        learning_rate = "fast"
        [score]
        performance = "accurracy"
        weights = { train_enrgy = 1 }
    """
    found = faults(text)
    starts = [
        "device.name: missing",
        "device.thread: unknown key. Did you mean 'threads'?",
        "budgets.latency_p90_ms = -1, expected a number > 0",
        "candidates.architectures: missing",
        "candidates.image_size_px.1 = 8, expected an integer >= 16",
        "train.epochs = 0, expected an integer >= 1. Remove the line to use the default, 10.",
        'train.learning_rate = "fast", expected a number',
        f'score.performance = "accurracy", expected {performance_fault("accurracy")}',
        f"score.weights = {{train_enrgy = 1}}, expected one of {', '.join(RESOURCES)}",
        "seeed: unknown key. Did you mean 'seed'?",
    ]
    for line, start in zip(found, starts, strict=True):
        assert line.startswith(f"r.toml: {start}")


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("[score]\nweights = { latency = 0 }", "expected at least one weight above 0"),
        ("[score]\nweights = { latency = -1 }", "score.weights.latency = -1, expected a number >= 0"),
        ("[score]\nalpha = 0.5", "score.alpha = 0.5, expected a number >= 1"),
        ("[data]\nfraction = 0", "data.fraction = 0, expected a number > 0"),
        ("[data]\nchannels = 2", "data.channels = 2, expected one of 'auto', 1 or 3"),
        ("[data]\nval_fraction = 1.0", "data.val_fraction = 1.0, expected a number < 1"),
        ("[train]\nbatch_size = 1", "train.batch_size = 1, expected an integer >= 2"),
        ("[export]\nvariants = []", "export.variants = [], expected at least one entry"),
        ("[bundles]\ntop = 0", "bundles.top = 0, expected an integer >= 1"),
        (
            "[search]\npolicy = 'random'",
            "search.policy = \"random\", expected one of 'exhaustive', 'halving' or 'bounded'",
        ),
        ("[search]\nmax_energy_wh = 0", "search.max_energy_wh = 0, expected a number > 0"),
        ("[search]\nshare = 1.5", "search.share = 1.5, expected a number <= 1"),
        ("image_size_px = '64'", 'candidates.image_size_px = "64", expected a list'),
        ("image_size_px = 64.0", "candidates.image_size_px = 64.0, expected a list"),
        ("image_size_px = 4096", "candidates.image_size_px.0 = 4096, expected an integer <= 1024"),
    ],
)
def test_a_faulty_recipe_is_refused(more: str, fault: str) -> None:
    (line,) = faults(SMALLEST + more)
    assert line.startswith("r.toml: ")
    assert fault in line


@pytest.mark.parametrize(("seed", "good"), [(2**32 - 1, True), (2**32, False), (-1, False)])
def test_the_seed_fits_all_generators(seed: int, good: bool) -> None:
    text = f"seed = {seed}\n{SMALLEST}"
    if good:
        assert parse(text, Recipe, "r.toml").seed == seed
    else:
        assert "seed = " in faults(text)[0]


def test_one_size_needs_no_brackets() -> None:
    assert recipe("image_size_px = 48").candidates.image_size_px == (48,)
    assert recipe("image_size_px = [48, 64]").candidates.image_size_px == (48, 64)


def test_the_paper_protocol_brings_its_own_defaults() -> None:
    train = recipe('[train]\nprotocol = "paper"').train
    assert {name: getattr(train, name) for name in PAPER} == PAPER
    # Selvan et al. 2025: Adam, learning rate 5e-4, batches of 32, 10 epochs.
    assert (train.learning_rate, train.batch_size, train.epochs) == (5e-4, 32, 10)
    assert Train().learning_rate != train.learning_rate


@pytest.mark.parametrize(
    ("key", "value"),
    [("epochs", 3), ("learning_rate", 0.1), ("augment", "light"), ("patience", 1), ("weight_decay", 1.5)],
)
def test_keys_of_the_recipe_override_the_paper_protocol(key: str, value: Any) -> None:
    shown = f'"{value}"' if isinstance(value, str) else value
    train = recipe(f'[train]\n{key} = {shown}\nprotocol = "paper"').train
    assert getattr(train, key) == value
    assert all(getattr(train, name) == default for name, default in PAPER.items() if name != key)


def test_the_default_protocol_ignores_the_paper() -> None:
    assert recipe('[train]\nprotocol = "default"').train == Train()


def test_budgets_in_si_units() -> None:
    assert Budgets(latency_p90_ms=50.0, peak_memory_mib=300.0, size_mib=0.5).si() == pytest.approx(
        {"latency_p90_s": 0.05, "peak_memory_bytes": 314_572_800, "size_bytes": 524_288}
    )
    assert recipe("[budgets]\nsize_mib = 1").budgets.si() == {"size_bytes": 2**20}


@settings(deadline=None)
@given(st.text())
def test_arbitrary_text_is_a_recipe_error(text: str) -> None:
    with pytest.raises(RecipeError, match=r"r\.toml: "):
        parse(text, Recipe, "r.toml")


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A shipped recipe with some lines or letters lost, doubled or overwritten."""
    text = draw(st.sampled_from([path.read_text(encoding="utf-8") for path in SHIPPED]))
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        key, _, value = lines[at].partition("=")
        wrong = draw(
            st.sampled_from(
                [
                    "nan",
                    "-1",
                    "[]",
                    "{}",
                    "''",
                    "true",
                    "1e400",
                    "0",
                    "[[1]]",
                    "2020-01-01",
                    "{int = 1}",
                    "9" * 4400,
                ]
            )
        )
        column = draw(st.integers(0, len(lines[at])))
        other = draw(st.sampled_from(["int", "tuple", "name", "seed"]))
        letters = lines[at][:column] + draw(st.text(max_size=2)) + lines[at][column + 1 :]
        lines[at] = draw(
            st.sampled_from(
                [f"{key}= {wrong}", f"{other} ={value}", letters, f"{lines[at]}\n{lines[at]}", ""]
            )
        )
    return "\n".join(lines)


@settings(deadline=None)
@given(mangled())
def test_a_mangled_recipe_parses_or_is_a_recipe_error(text: str) -> None:
    try:
        assert isinstance(parse(text, Recipe, "r.toml"), Recipe)
    except RecipeError as fault:
        lines = str(fault).split("\n")
        assert all(line.startswith("r.toml: ") for line in lines)


def test_a_recipe_is_found_by_path_or_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(SMALLEST, encoding="utf-8")
    shipped = recipes_dir() / "quickstart.toml"
    assert find("mine.toml") == Path("mine.toml")
    assert find(tmp_path / "mine.toml") == tmp_path / "mine.toml"
    assert find("quickstart") == find("quickstart.toml") == find(shipped) == shipped
    # An own file has precedence over a shipped recipe.
    (tmp_path / "quickstart.toml").write_text(SMALLEST, encoding="utf-8")
    assert find("quickstart.toml") == Path("quickstart.toml")


def test_a_folder_of_the_name_does_not_hide_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert find("quickstart") == recipes_dir() / "quickstart.toml"


@pytest.mark.parametrize("name", ["mine/quickstart", "quickstart.json", "quickstart.v2", "", "."])
def test_other_names_do_not_match_a_shipped_recipe(name: str) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        find(name)


def test_a_missing_path_is_reported() -> None:
    assert find("mine/quickstart.toml") == Path("mine/quickstart.toml")
    with pytest.raises(RecipeError, match=r"quickstart\.toml: no such file"):
        read(find("mine/quickstart.toml"), Recipe)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"quickstrat: no such recipe\. Did you mean 'quickstart'\?"):
        find("quickstrat")
    with pytest.raises(RecipeError, match="`pepr-edge recipes list` shows"):
        find("zzz")


def test_no_model_may_need_more_memory_than_the_device_has() -> None:
    def limits(device_mib: float, budget_mib: float | None) -> dict[str, float]:
        text = SMALLEST.replace('name = "a device"', f'name = "a device"\nmemory_mib = {device_mib}')
        return parse(
            text + (f"[budgets]\npeak_memory_mib = {budget_mib}\n" if budget_mib else ""), Recipe, "r.toml"
        ).limits()

    assert limits(512.0, None) == {"peak_memory_bytes": 512 * 2**20}
    assert limits(512.0, 300.0) == {"peak_memory_bytes": 300 * 2**20}
    assert limits(512.0, 900.0) == {"peak_memory_bytes": 512 * 2**20}
    assert recipe().limits() == {}


def test_duplicates_are_removed() -> None:
    text = SMALLEST.replace(
        '["resnet18d"]', '["resnet18d", "dla46_c", "resnet18d"]\nimage_size_px = [64, 64]'
    )
    found = parse(text + '[export]\nvariants = ["fp32", "fp32"]\n', Recipe, "r.toml")
    assert found.candidates.architectures == ("resnet18d", "dla46_c")
    assert (found.candidates.image_size_px, found.export.variants) == ((64,), ("fp32",))


def with_architectures(value: str) -> str:
    return SMALLEST.replace('["resnet18d"]', value)


def test_zoo_stands_for_all_architectures_of_the_zoo() -> None:
    found = parse(with_architectures('"zoo"'), Recipe, "r.toml")
    assert found.candidates.architectures == tuple(architectures())
    assert len(found.candidates.architectures) == 131
    assert found == parse(with_architectures(json.dumps(list(architectures()))), Recipe, "r.toml")


@given(st.lists(st.sampled_from([*architectures(), "vit_tiny_patch16_224"]), min_size=1))
def test_a_list_of_names_stays_as_it_is_each_once(names: list[str]) -> None:
    found = parse(with_architectures(json.dumps(names)), Recipe, "r.toml")
    assert found.candidates.architectures == tuple(dict.fromkeys(names))


# Control characters are refused everywhere.
OTHER_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(
    lambda text: not CONTROL.search(text)
)


@given(st.one_of(st.sampled_from(["resnet18d", "Zoo", "zoo ", "all", ""]), OTHER_TEXT))
def test_other_text_in_place_of_the_list_is_one_fault_with_the_expected_value(text: str) -> None:
    if text == "zoo":
        return
    (line,) = faults(with_architectures(json.dumps(text, ensure_ascii=False)))
    assert line.startswith('r.toml: candidates.architectures = "')
    assert ', expected a list of names, or "zoo"' in line


@pytest.mark.parametrize("value", ["5", "true", "{}", "1.5", "2020-01-01"])
def test_another_type_is_one_fault(value: str) -> None:
    (line,) = faults(with_architectures(value))
    assert "candidates.architectures = " in line
    assert ", expected a list" in line


def test_zoo_stands_for_nothing_in_other_lists() -> None:
    assert (
        'export.variants = "zoo", expected "auto", or a list of names'
        in faults(SMALLEST + "[export]\nvariants = 'zoo'")[0]
    )
    assert recipe("[data]\nsource = 'zoo'").data.source == "zoo"


def test_the_paper_has_twelve_recipes() -> None:
    assert {path.stem for path in SHIPPED if path.stem.startswith("paper_")} == set(PAPER_RECIPES)


@pytest.mark.parametrize("name", PAPER_RECIPES)
def test_a_recipe_of_the_paper_matches_its_name(name: str) -> None:
    found = read(recipes_dir() / f"{name}.toml", Recipe)
    _, data, weights, percent = name.split("_")
    assert len(found.candidates.architectures) == 131
    assert found.candidates.image_size_px == (256,)
    assert found.candidates.weights == weights
    assert found.data.fraction == int(percent) / 100
    assert (
        found.data.source == {"derma": "dermamnist", "pneumonia": "pneumoniamnist", "lidc": "lidc.pt"}[data]
    )
    train = found.train
    # Selvan et al. 2025: Adam, learning rate 5e-4, batches of 32, 10 epochs; no augmentation or early stop.
    assert (train.protocol, train.mode, train.learning_rate, train.batch_size, train.epochs) == (
        "paper",
        "full",
        5e-4,
        32,
        10,
    )
    assert (train.augment, train.flips, train.weight_decay, train.class_balanced) == (
        "none",
        False,
        0.0,
        False,
    )
    assert train.patience >= train.epochs
    assert found.score.performance == "accuracy"


@pytest.mark.parametrize(("name", "theirs"), PAPER_RECIPES.items())
def test_a_recipe_of_the_paper_names_the_experiment_of_the_authors(name: str, theirs: str | None) -> None:
    text = (recipes_dir() / f"{name}.toml").read_text(encoding="utf-8")
    assert (f'"{theirs}"' if theirs else "not among") in text
    comments = [line for line in text.splitlines() if line.startswith("#") and "Command:" not in line]
    assert all(len(line) <= 110 for line in comments)


def test_recipes_of_the_paper_differ_only_in_data_weights_and_fraction() -> None:
    apart: Any = {"name": True, "description": True, "data": True, "candidates": {"weights"}}
    recipes = [read(recipes_dir() / f"{name}.toml", Recipe) for name in PAPER_RECIPES]
    first, *others = [recipe.model_dump(exclude=apart) for recipe in recipes]
    assert all(other == first for other in others)
