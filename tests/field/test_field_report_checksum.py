from __future__ import annotations

import json

from made_records import bench, field_report

from pepr_edge.field.report_checksum import checksum, is_intact, with_checksum
from pepr_edge.records import FieldReport


def test_a_report_is_intact_as_made_and_as_read() -> None:
    made = with_checksum(field_report(bench("small", 1 / 3)))
    assert is_intact(made)
    assert is_intact(FieldReport.model_validate_json(made.model_dump_json()))
    assert not is_intact(made.model_copy(update={"emulated": True}))


def test_a_report_with_fewer_keys_is_intact_too() -> None:
    document = json.loads(field_report(bench("small")).model_dump_json(exclude={"checksum"}))
    for key in ("warnings", "thread_sweep"):  # as if a later version had added them
        del document["results"][0][key]
    older = FieldReport.model_validate(document)
    older = older.model_copy(update={"checksum": checksum(older, exclude_unset=True)})
    text = json.dumps({**document, "checksum": older.checksum})
    assert is_intact(FieldReport.model_validate_json(text))
    assert not is_intact(FieldReport.model_validate_json(text.replace('"partial": false', '"partial": true')))
