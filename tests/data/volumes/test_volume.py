"""Grids that are the same in another order, and slices as they are looked at."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from palpate.data.volumes import Volume, on_grid_of, read_nifti, slices

from .conftest import nibabel

SHAPE = (3, 4, 5)
VOXELS = np.arange(60).reshape(SHAPE)
AFFINE = np.array([[0, -2.0, 0.1, 7], [3, 0, 0, -8], [0, 0.1, 4, 9], [0, 0, 0, 1]])
IMAGE = Volume("image.nii", VOXELS, AFFINE)

orders = st.permutations(range(3))
signs = st.tuples(*[st.sampled_from([1, -1])] * 3)


@given(orders, signs)
def test_a_segmentation_in_any_order_of_axes_finds_its_voxels(order, flips):
    """nibabel turns the file, and the labels come back where they were."""
    turn = np.array(list(zip(order, flips, strict=True)))
    turned = nibabel.Nifti1Image(VOXELS.astype(np.int16), AFFINE).as_reoriented(turn)
    segmentation = read_nifti(turned.to_bytes(), "seg.nii")
    assert_array_equal(on_grid_of(segmentation, IMAGE), VOXELS)


def moved(matrix):
    return Volume("seg.nii", VOXELS, AFFINE @ matrix)


def test_a_shifted_segmentation_is_refused():
    shift = np.eye(4)
    shift[1, 3] = 1.0
    with pytest.raises(
        ValueError, match=r"seg\.nii on the grid .* image\.nii, but it lies up to 1"
    ):
        on_grid_of(moved(shift), IMAGE)


@pytest.mark.parametrize("change", ["size", "angle", "shear"])
def test_another_grid_is_refused(change):
    matrix = np.eye(4)
    if change == "size":
        matrix[2, 2] = 1.05
    if change == "angle":
        matrix[:2, :2] = [[0.99, -0.14], [0.14, 0.99]]
    if change == "shear":
        matrix[0, 1] = 1.0
    with pytest.raises(ValueError, match=r"at an angle to it\. Resample it onto the image"):
        on_grid_of(moved(matrix), IMAGE)


@pytest.mark.parametrize("affine", [None, AFFINE])
def test_another_shape_is_refused(affine):
    with pytest.raises(ValueError, match=r"of 3x4x5 voxels in seg\.nii, .* got 3x4x4"):
        on_grid_of(Volume("seg.nii", VOXELS[..., :4], affine), IMAGE)


def test_a_header_without_size_is_refused():
    flat = Volume("image.nii", VOXELS, np.diag([1.0, 0, 1, 1]))
    with pytest.raises(ValueError, match="cannot be inverted"):
        on_grid_of(Volume("seg.nii", VOXELS, AFFINE), flat)


def test_numbered_axes_are_not_turned():
    across = slices(IMAGE, "2")
    assert across.shape == (5, 4, 3)
    assert_array_equal(across[1], VOXELS[:, :, 1].T)
    assert_array_equal(slices(IMAGE, "0")[2], VOXELS[2].T)
    assert_array_equal(slices(IMAGE, "1")[3], VOXELS[:, 3].T)


MARKS = {
    "right": (0, 1),
    "left": (0, -1),
    "front": (1, 1),
    "back": (1, -1),
    "head": (2, 1),
    "foot": (2, -1),
}
# What a radiologist sees at the left, right, top and bottom edge of a picture.
EDGES = {
    "axial": ("right", "left", "front", "back"),
    "coronal": ("right", "left", "head", "foot"),
    "sagittal": ("front", "back", "head", "foot"),
}


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PSR", "SLA", "IAR"])
@pytest.mark.parametrize("plane", EDGES)
def test_pictures_are_the_right_way_round_however_the_file_is_stored(plane, codes):
    edges = EDGES[plane]
    for mark, place in zip(
        edges,
        [(slice(None), 0), (slice(None), -1), (0, slice(None)), (-1, slice(None))],
        strict=True,
    ):
        picture = marked(mark, codes, plane)
        assert picture[place].all(), mark
        assert picture.sum() == picture[place].size, mark


def marked(mark, codes, plane):
    """The middle picture of a volume in which one face of the patient's box is set."""
    axis, side = MARKS[mark]
    body = np.zeros((5, 6, 7), dtype=np.uint8)
    np.moveaxis(body, axis, 0)[-1 if side > 0 else 0] = 1
    image = nibabel.Nifti1Image(body, np.eye(4))
    turn = nibabel.orientations.axcodes2ornt(codes)
    stored = read_nifti(image.as_reoriented(turn_to(turn)).to_bytes(), "a.nii")
    pictures = slices(stored, plane)
    return pictures[len(pictures) // 2]


def turn_to(wanted):
    return nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), wanted)


@pytest.mark.parametrize(("plane", "axis"), [("sagittal", 0), ("coronal", 1), ("axial", 2)])
def test_slices_run_to_the_right_the_front_and_the_head(plane, axis):
    body = np.moveaxis(np.arange(5 * 6 * 7).reshape(5, 6, 7), 0, axis)
    means = slices(Volume("a", body, np.diag([-1.0, 1, -1, 1])), plane).mean(axis=(1, 2))
    backwards = slices(Volume("a", body, np.eye(4)), plane).mean(axis=(1, 2))
    rising = np.moveaxis(body, axis, 0).mean(axis=(1, 2))
    assert_array_equal(backwards, rising)
    assert_array_equal(means, rising if axis == 1 else rising[::-1])


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [((1, 1, 5), "axial"), ((5, 1, 1), "sagittal"), ((1, 5, 1), "coronal"), ((1, 1, 1), "axial")],
)
def test_acquired_slices_are_those_across_the_thick_voxels(spacing, plane):
    volume = Volume("a", VOXELS, np.diag([*map(float, spacing), 1.0]))
    assert_array_equal(slices(volume, "acquired"), slices(volume, plane))


def test_without_orientation_only_numbered_axes_work():
    volume = Volume("a.nii", VOXELS)
    assert_array_equal(slices(volume, "acquired"), slices(volume, "2"))
    assert_array_equal(
        slices(Volume("a", VOXELS[:, :1]), "acquired"), slices(Volume("a", VOXELS[:, :1]), "1")
    )
    with pytest.raises(
        ValueError, match=r"orientation in a\.nii, which a slice called axial needs"
    ):
        slices(volume, "axial")


def test_a_mistyped_axis_is_guessed():
    with pytest.raises(ValueError, match="Did you mean 'axial'"):
        slices(IMAGE, "axail")


def test_colour_stays_behind():
    volume = Volume("a", np.zeros((3, 4, 5, 3), dtype=np.uint8), AFFINE)
    for axis, shape in itertools.product(["2"], [(5, 4, 3, 3)]):
        assert slices(volume, axis).shape == shape
