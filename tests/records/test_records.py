from __future__ import annotations

import inspect
import json
import math
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pepr_edge import records
from pepr_edge.records import Candidate, Estimate, Preprocess, Quantity, Record, SplitInfo, Versioned, about

KINDS = [
    kind
    for _, kind in inspect.getmembers(records, inspect.isclass)
    if issubclass(kind, Record)
    and kind not in (Record, Versioned)
    and kind.__module__.startswith(records.__name__)
]
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    bool: st.booleans(),
    type(None): st.none(),
}
# Texts that a function of their field checks.
CHECKED: dict[Any, st.SearchStrategy[Any]] = {
    records.plain_name: st.text("ab1_-@", min_size=1, max_size=8),
    about.one_line: st.text("ab1_-@", min_size=1, max_size=8),
    about.iso_date: st.dates().map(lambda day: day.isoformat()),
}


def values(annotation: Any, limits: list[Any]) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each type
    """Return a strategy for all values that a record's annotation allows."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [
            limit
            for field in arguments[1:]
            for limit in (field.metadata if isinstance(field, FieldInfo) else [field])
        ]
        return values(arguments[0], inner)
    if any(getattr(limit, "pattern", None) for limit in limits):
        return st.text("0123456789abcdef", min_size=64, max_size=64)
    checks = [getattr(limit, "func", None) for limit in limits]
    checked = next((CHECKED[check] for check in checks if check in CHECKED), None)
    if checked is not None:
        return checked
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([values(argument, []) for argument in arguments])
    if origin is dict:
        return st.dictionaries(values(arguments[0], []), values(arguments[1], []), max_size=2)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0], []), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(argument, []) for argument in arguments))
    if annotation in (int, float):
        return numbers(annotation, limits)
    return PLAIN[annotation] if annotation in PLAIN else instances(annotation)


def numbers(kind: type[int] | type[float], limits: list[Any]) -> st.SearchStrategy[Any]:
    least = next(
        (limit.ge if isinstance(limit, Ge) else limit.gt for limit in limits if isinstance(limit, Ge | Gt)),
        None,
    )
    most = next((limit.le for limit in limits if isinstance(limit, Le)), None)
    if kind is int:
        return st.integers(-(2**60) if least is None else least, 2**60 if most is None else most)
    open_end = any(isinstance(limit, Gt) for limit in limits)
    return st.floats(least, most, allow_nan=False, allow_infinity=False, exclude_min=open_end)


def instances(kind: type[Record]) -> st.SearchStrategy[Any]:
    return st.builds(
        kind,
        **{name: values(field.annotation, list(field.metadata)) for name, field in kind.model_fields.items()},
    )


def kinds(*, but: tuple[type[Record], ...] = ()) -> Any:
    return pytest.mark.parametrize(
        "kind", [kind for kind in KINDS if kind not in but], ids=lambda kind: kind.__name__
    )


def test_there_are_records_to_test() -> None:
    assert len(KINDS) >= 30


@kinds()
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_record_survives_json_unchanged(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(instances(kind))
    assert kind.model_validate_json(record.model_dump_json()) == record
    assert kind.model_validate(record.model_dump()) == record


@kinds()
@settings(max_examples=3, deadline=None)
@given(st.data())
def test_unknown_keys_are_refused_and_fields_do_not_change(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(instances(kind))
    with pytest.raises(ValidationError, match="extra_forbidden"):
        kind.model_validate({**record.model_dump(), "peak_memory_mib": 1})
    with pytest.raises(ValidationError, match="frozen_instance"):
        setattr(record, next(iter(kind.model_fields)), None)


@kinds()
@settings(max_examples=3, deadline=None)
@given(st.data(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_nan_and_infinity_are_refused_in_every_number(
    kind: type[Record], data: st.DataObject, wrong: float
) -> None:
    record = data.draw(instances(kind))
    for name, field in kind.model_fields.items():
        if float in (field.annotation, *get_args(field.annotation)):
            with pytest.raises(ValidationError, match=rf"(?m)^{name}"):
                kind.model_validate({**record.model_dump(), name: wrong})
            # Python's JSON writes NaN; what reads records must not take it.
            with pytest.raises(ValidationError):
                kind.model_validate_json(json.dumps({**record.model_dump(mode="json"), name: wrong}))


@kinds(but=tuple(kind for kind in KINDS if not issubclass(kind, Versioned)))
@settings(max_examples=3, deadline=None)
@given(st.data())
def test_a_file_of_a_later_version_is_refused(kind: type[Versioned], data: st.DataObject) -> None:
    record = data.draw(instances(kind))
    assert record.model_dump()["schema_version"] == 1
    with pytest.raises(ValidationError, match="schema_version"):
        kind.model_validate({**record.model_dump(), "schema_version": 2})


def test_a_missing_value_is_none_and_zero_is_a_value() -> None:
    assert Quantity(value=None, method="unavailable").value is None
    assert Quantity(value=0, method="measured").value == 0
    with pytest.raises(ValidationError):
        Quantity.model_validate({"method": "measured"})


@pytest.mark.parametrize(
    ("kind", "whole", "wrong"),
    [
        (Quantity, {"value": 1.0, "method": "measured"}, {"value": -1.0}),
        (Quantity, {"value": 1.0, "method": "measured"}, {"method": "guessed"}),
        (Estimate, {"value": 0.5, "ci": (0.4, 0.6), "split": "val", "n": 9}, {"split": "validation"}),
        (Estimate, {"value": 0.5, "ci": (0.4, 0.6), "split": "val", "n": 9}, {"ci": (0.4, math.nan)}),
        (SplitInfo, {"images": 2, "class_counts": (1, 1)}, {"class_counts": (1, -1)}),
        (Preprocess, {"channels": 1, "image_size_px": 64, "mean": (0.5,), "std": (0.2,)}, {"std": (0.0,)}),
        (Preprocess, {"channels": 1, "image_size_px": 64, "mean": (0.5,), "std": (0.2,)}, {"channels": 2}),
        (Preprocess, {"channels": 1, "image_size_px": 64, "mean": (0.5,), "std": (0.2,)}, {"scale": 0}),
        (
            Preprocess,
            {"channels": 1, "image_size_px": 64, "mean": (0.5,), "std": (0.2,)},
            {"image_size_px": 100_000},
        ),
        (
            Candidate,
            {"architecture": "a", "image_size_px": 64, "in_channels": 1, "num_classes": 2},
            {"num_classes": 1},
        ),
        (
            Candidate,
            {"architecture": "a", "image_size_px": 64, "in_channels": 1, "num_classes": 2},
            {"weights_sha256": "A" * 64},
        ),
    ],
)
def test_impossible_values_are_refused(
    kind: type[Record], whole: dict[str, Any], wrong: dict[str, Any]
) -> None:
    kind.model_validate(whole)
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        kind.model_validate({**whole, **wrong})


def test_a_candidate_is_named_by_architecture_and_size() -> None:
    assert (
        Candidate(architecture="resnet18d", image_size_px=64, in_channels=3, num_classes=2).id
        == "resnet18d@64"
    )


def test_a_changed_record_is_validated() -> None:
    quantity = Quantity(value=1.0, method="measured")
    assert quantity.replace(value=2.0) == Quantity(value=2.0, method="measured")
    assert quantity.value == 1.0
    with pytest.raises(ValidationError, match="value"):
        quantity.replace(value=-1.0)
    with pytest.raises(ValidationError, match="unit"):
        quantity.replace(unit="J")


def test_a_library_s_message_is_recorded_without_escape_sequences() -> None:
    candidate = Candidate(architecture="a", image_size_px=32, in_channels=1, num_classes=2)
    message = "refused, \x1b[1monly if you trust /data/anna/w.pth\x1b[0m"
    failure = records.Failure(key="k", candidate=candidate, stage="train", reason=message)
    assert failure.reason == "refused, only if you trust w.pth"
