"""CRIS: text-prompted segmentation with CLIP's ResNet, see :mod:`palpate.models.cris.network`."""

from palpate.models.cris.checkpoint import build_cris, convert_cris, read_cris
from palpate.models.cris.config import CrisConfig
from palpate.models.cris.network import CRIS

__all__ = ["CRIS", "CrisConfig", "build_cris", "convert_cris", "read_cris"]
