from pepr_edge.data import DataSettings, describe, prepare


def test_describe_a_dataset(tmp_path):
    info = prepare(DataSettings("phantom", 16, phantom_images=100), tmp_path)
    sizes, classes, baseline = describe(info)
    assert sizes == "phantom: 100 grey images: train 65, val 15, test 20"
    assert classes == "2 classes: benign 60, malignant 40"
    assert "'benign'" in baseline
    assert "60.0 %" in baseline


def test_the_fraction_is_shown(tmp_path):
    info = prepare(DataSettings("phantom", 16, phantom_images=100, fraction=0.5, channels=3), tmp_path)
    assert (
        describe(info)[0] == "phantom: 68 RGB images: train 33, val 15, test 20 (0.5 of the training split)"
    )
