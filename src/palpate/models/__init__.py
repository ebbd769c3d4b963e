"""Segmentation models: loading, adapters, checkpoints and wrapping of other networks."""

from palpate.models.biomedclip.convert import DecoderParts, build_from_biomedclip
from palpate.models.checkpoints import is_checkpoint, load_checkpoint, save_checkpoint
from palpate.models.clip.vocabulary import learn_vocabulary
from palpate.models.clipseg.adapters import ADAPTERS, adapt, adapter_state
from palpate.models.clipseg.load import as_vlsm, load_vlsm
from palpate.models.clipseg.model import VLSM
from palpate.models.cris import CrisConfig, build_cris, convert_cris
from palpate.models.exported.network import NoGradientWarning
from palpate.models.families import FAMILIES, Family, find_family
from palpate.models.from_backbone.dinov2 import build_from_dinov2
from palpate.models.from_backbone.directory import write_half, write_model
from palpate.models.from_backbone.student import StudentSize, shrink
from palpate.models.loading import load_model
from palpate.models.pixel_model import LEARNS, Learns, PixelModel
from palpate.models.preprocessing import Preprocessing
from palpate.models.request import Request
from palpate.models.text_prompted import Encoded, TextPrompted
from palpate.models.wrap.outputs import SaturationWarning
from palpate.models.wrap.queries import query_scores
from palpate.models.wrap.wrap import Wrapped, wrap

__all__ = [
    "ADAPTERS",
    "FAMILIES",
    "LEARNS",
    "VLSM",
    "CrisConfig",
    "DecoderParts",
    "Encoded",
    "Family",
    "Learns",
    "NoGradientWarning",
    "PixelModel",
    "Preprocessing",
    "Request",
    "SaturationWarning",
    "StudentSize",
    "TextPrompted",
    "Wrapped",
    "adapt",
    "adapter_state",
    "as_vlsm",
    "build_cris",
    "build_from_biomedclip",
    "build_from_dinov2",
    "convert_cris",
    "find_family",
    "is_checkpoint",
    "learn_vocabulary",
    "load_checkpoint",
    "load_model",
    "load_vlsm",
    "query_scores",
    "save_checkpoint",
    "shrink",
    "wrap",
    "write_half",
    "write_model",
]
