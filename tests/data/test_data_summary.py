from pepr_edge.data import DataSettings, describe, prepare
from pepr_edge.records import DataInfo


def test_describes_a_dataset_in_plain_lines(tmp_path):
    info = prepare(DataSettings("phantom", 16, phantom_images=100), tmp_path)
    assert describe(info) == [
        "phantom: 100 grey images: train 65, val 15, test 20",
        "2 classes: benign 60, malignant 40",
        "majority baseline: always saying 'benign' is right on 60.0% of the test images",
    ]


def test_fraction_and_notes_are_shown(tmp_path):
    info = prepare(DataSettings("phantom", 16, phantom_images=100, fraction=0.5, channels=3), tmp_path)
    lines = describe(DataInfo(**(info.model_dump() | {"notes": ("look out",)})))
    assert lines[0] == "phantom: 68 RGB images: train 33, val 15, test 20 (0.5 of the training split)"
    assert lines[-1] == "note: look out"
