"""Readers of NIfTI, MetaImage, MGH and DICOM volumes, and slices of volumes as 8-bit images."""

from palpate.data.volumes.dicom import is_dicom, read_dataset, read_series
from palpate.data.volumes.dicom_seg import SEG, STRUCTURE_SET, read_seg
from palpate.data.volumes.labels import channels_of, whole_labels
from palpate.data.volumes.metaimage import read_metaimage
from palpate.data.volumes.nifti import read_mgh, read_nifti
from palpate.data.volumes.planes import AXES, check_axis, slices
from palpate.data.volumes.volume import Volume, channel_of, on_grid_of
from palpate.data.volumes.windowing import WINDOWS, Window, check_finite, greys, window_from

__all__ = [
    "AXES",
    "SEG",
    "STRUCTURE_SET",
    "WINDOWS",
    "Volume",
    "Window",
    "channel_of",
    "channels_of",
    "check_axis",
    "check_finite",
    "greys",
    "is_dicom",
    "on_grid_of",
    "read_dataset",
    "read_metaimage",
    "read_mgh",
    "read_nifti",
    "read_seg",
    "read_series",
    "slices",
    "whole_labels",
    "window_from",
]
