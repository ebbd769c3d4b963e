import numpy as np
import pytest
from numpy.testing import assert_array_equal

from palpate.data.volumes import channels_of, whole_labels


def test_labels_that_scaling_moved_are_rounded():
    scaled = np.array([0, 1, 2, 2035], dtype=np.float64) * 1.000015 + 1e-6
    labels = whole_labels(scaled, "a.nii")
    assert labels.dtype.kind == "i"
    assert labels.tolist() == [0, 1, 2, 2035]
    assert whole_labels(np.array([-0.0009, 1.0009]), "a.nii").tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["bool", "uint16", "int32", "float32", "float64"])
def test_whole_labels_of_any_type_stay_what_they_are(kind):
    assert whole_labels(np.array([0, 1], dtype=kind), "a.nii").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 0.002], r"got values such as 0\.002 in 1 of 2 voxels; .* probabilities, threshold"),
        ([0, 1.5, 3], r"such as 1\.5 in 1 of 3 .* with nearest neighbours"),
        ([0, -1.0], r"labels from 0 on in a\.nii, got -1; give each structure"),
        ([0, np.nan], r"NaN or infinity in 1 of 2 voxels; .* the option nan background"),
    ],
)
def test_advice_fits_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        whole_labels(np.array(values), "a.nii")


def test_nan_is_label_0_by_choice():
    assert whole_labels(np.array([np.nan, 1]), "a", nan_is_background=True).tolist() == [0, 1]


def one_hot(labels):
    return np.stack([labels == n for n in range(4)], axis=-1).astype(np.uint8)


def test_one_hot_channels_are_labels_by_their_index():
    labels = np.random.default_rng(0).integers(0, 3, (3, 4, 5))  # never 3
    masks, background = channels_of(one_hot(labels), "a.nii")
    assert background
    assert sorted(masks) == [1, 2]
    assert_array_equal(masks[2], labels == 2)


def test_channels_that_overlap_or_leave_voxels_out_have_no_background():
    labels = np.random.default_rng(0).integers(0, 3, (3, 4, 5))
    whole = np.stack([labels > 0, labels == 2], axis=-1) * 255
    masks, background = channels_of(whole, "a.nii")
    assert not background
    assert_array_equal(masks[1], labels > 0)
    assert_array_equal(masks[2], labels == 2)


def test_a_series_of_label_maps_is_refused():
    with pytest.raises(ValueError, match=r"0 and 1 in the 2 channels of a\.nii, .* got 0, 1, 2;"):
        channels_of(np.arange(3).repeat(4).reshape(3, 2, 1, 2), "a.nii")
