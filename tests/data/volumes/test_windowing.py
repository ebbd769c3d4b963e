import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from palpate.data.volumes import Window, greys, window_from

from .conftest import pydicom

values = st.integers(-1200, 3000)


@given(
    st.integers(-500, 500),
    st.integers(20, 2000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_are_those_of_dicom(centre, width, curve):
    """pydicom's output spans the values that 16 bits can hold; ours [0, 1]."""
    dataset = pydicom.Dataset()
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = centre, width, curve
    dataset.PhotometricInterpretation, dataset.BitsStored = "MONOCHROME2", 16
    dataset.PixelRepresentation = 1
    measured = np.array([-1000, -200, -1, 0, 1, 40, 300, 2000], dtype=np.int16)
    theirs = (pydicom.pixels.apply_voi_lut(measured, dataset) + 32768) / 65535
    assert_allclose(Window(float(centre), float(width), curve).apply(measured), theirs, atol=1e-4)


@given(st.lists(values, min_size=2, max_size=9), st.floats(-500, 500), st.floats(1.5, 900))
def test_shades_rise_with_values(measured, centre, width):
    ordered = np.sort(np.array(measured, dtype=np.int16))
    shades = greys(ordered, Window(centre, width), None).astype(int)
    assert (np.diff(shades) >= 0).all()
    assert_array_equal(255 - shades, greys(ordered, Window(centre, width), None, inverted=True))


def test_eight_bits_are_kept_as_they_are():
    pixels = np.arange(256, dtype=np.uint8)
    assert_array_equal(greys(pixels, "auto", None), pixels)
    assert_array_equal(greys(pixels, "auto", None, inverted=True), pixels[::-1])


def test_what_the_file_states_wins_over_percentiles_and_a_choice_over_both():
    measured = np.array([-1000, 0, 40, 80, 1000], dtype=np.int16)
    stated = Window(40.0, 80.0)
    assert greys(measured, "auto", stated).tolist() == [0, 0, 128, 255, 255]
    assert greys(measured, "full", stated).tolist() == [0, 128, 133, 138, 255]
    assert greys(measured, window_from("0,2000"), stated).tolist() == [0, 128, 133, 138, 255]


def test_percentiles_cut_off_what_is_rare():
    measured = np.append(np.linspace(0, 100, 9999), 1e6).astype(np.float32)
    shades = greys(measured, "auto", None)
    assert shades[5000] == pytest.approx(128, abs=2)
    assert shades[-1] == 255


def test_a_constant_volume_and_a_nearly_empty_one_do_not_divide_by_zero():
    assert len(np.unique(greys(np.full(5, 7.5), "auto", None))) == 1
    rare = np.zeros(10_000, dtype=np.int16)
    rare[0] = 9
    assert greys(rare, "auto", None)[[0, 1]].tolist() == [255, 0]


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="finite values only"):
        greys(np.array([0.0, np.nan]), "auto", None)


@pytest.mark.parametrize("text", ["ct-lunge", "40", "40,80,1", "a,b"])
def test_windows_by_name_or_two_numbers(text):
    assert window_from("ct-lung") == Window(-600.0, 1500.0)
    with pytest.raises(ValueError, match=r"Expected a window among auto, full, .* got '"):
        window_from(text)


@pytest.mark.parametrize("text", ["40,0", "40,-5", "nan,5", "40,inf"])
def test_impossible_windows_are_refused(text):
    with pytest.raises(ValueError, match="Expected a finite window"):
        window_from(text)
