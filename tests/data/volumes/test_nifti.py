import gzip

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from palpate.data.volumes import read_nifti

from .conftest import nibabel, nifti


@pytest.fixture
def voxels():
    return np.arange(24, dtype=np.int16).reshape(2, 3, 4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_reads_voxels_and_where_they_lie(kind, packed, voxels):
    affine = np.diag([2.0, -3.0, 4.0, 1.0])
    data = kind(voxels, affine).to_bytes()
    volume = read_nifti(gzip.compress(data) if packed else data, "a.nii")
    assert_array_equal(volume.voxels, voxels)
    assert_array_equal(volume.affine, affine)
    assert volume.spacing == (2, 3, 4)


def test_applies_the_scale_of_the_header(voxels):
    volume = read_nifti(nifti(voxels, slope=(2.0, -10.0)), "a.nii")
    assert_array_equal(volume.voxels, voxels * 2.0 - 10)


def test_big_endian_files_read_alike(voxels):
    image = nibabel.Nifti1Image(
        voxels.astype(">i2"), np.eye(4), nibabel.Nifti1Header(endianness=">")
    )
    assert_array_equal(read_nifti(image.to_bytes(), "a.nii").voxels, voxels)


def test_a_file_that_does_not_say_how_it_lies_has_no_affine(voxels):
    assert read_nifti(nifti(voxels, code=0), "a.nii").affine is None


def test_single_slices_and_trailing_axes_become_three_axes(voxels):
    assert read_nifti(nifti(voxels[:, :, 0]), "a.nii").shape == (2, 3, 1)
    assert read_nifti(nifti(voxels[..., None, None]), "a.nii").shape == (2, 3, 4)


def test_colour_keeps_its_channels():
    colour = np.zeros((2, 3, 1), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["G"] = 7
    voxels = read_nifti(nifti(colour), "a.nii").voxels
    assert voxels.shape == (2, 3, 1, 3)
    assert (voxels == [0, 7, 0]).all()


def test_a_series_over_time_has_channels_and_more_axes_are_refused(voxels):
    film = np.stack([voxels] * 5, axis=-1)
    volume = read_nifti(nifti(film), "film.nii")
    assert volume.has_channels
    assert_array_equal(volume.voxels, film)
    with pytest.raises(ValueError, match=r"2 to 4 dimensions in film\.nii, got 5 \(2x3x4x5x2\)"):
        read_nifti(nifti(np.stack([film] * 2, axis=-1)), "film.nii")


def test_complex_values_are_refused(voxels):
    with pytest.raises(ValueError, match=r"real values in a\.nii"):
        read_nifti(nifti(voxels.astype(np.complex64)), "a.nii")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", [0, 3, 200, 380, -3])
def test_a_file_that_ends_too_soon_is_named(end, packed, voxels):
    data = nifti(np.random.default_rng(0).integers(0, 99, (9, 9, 9)).astype(np.int16))
    cut = gzip.compress(data)[: end % 900] if packed else data[:end]
    with pytest.raises(ValueError, match=r"complete NIfTI in a\.nii, but: .* again"):
        read_nifti(cut, "a.nii")


def test_damage_inside_a_packed_file_is_found(voxels):
    data = bytearray(gzip.compress(nifti(voxels.astype(np.uint8)), compresslevel=0))
    data[-30] ^= 255
    with pytest.raises(ValueError, match=r"complete NIfTI in a\.nii"):
        read_nifti(bytes(data), "a.nii")


@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (0, 3, 4), (-5, 3, 4)])
def test_a_header_that_announces_what_cannot_be_is_refused_before_it_is_believed(shape, voxels):
    data = bytearray(nifti(voxels))
    data[40:48] = np.array([3, *shape], dtype="<i2").tobytes()
    with pytest.raises(ValueError, match="its header announces"):
        read_nifti(bytes(data), "a.nii")


def test_a_packed_bomb_is_not_unpacked(voxels):
    bomb = gzip.compress(nifti(voxels) + bytes(50_000_000))
    assert_array_equal(read_nifti(bomb, "a.nii").voxels, voxels)


def test_anything_else_is_refused():
    with pytest.raises(ValueError, match="does not begin like one"):
        read_nifti(b"\x89PNG\r\n" * 100, "a.nii")


def test_without_nibabel_the_error_names_the_extra(monkeypatch, voxels):
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(RuntimeError, match="pip install nibabel"):
        read_nifti(nifti(voxels), "a.nii")
