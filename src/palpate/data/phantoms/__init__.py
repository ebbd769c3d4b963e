"""Phantoms: synthetic images with exact masks, known attributes and prompts built from them.

Three modalities (endoscopy, dermoscopy, echocardiography), each in two parts: a *scene* describes
the anatomy in resolution-independent coordinates, and an *instrument* renders it as an image.
Another instrument gives the same scene another appearance. A phantom is fully determined by its
seed, split and index.

>>> from palpate.data import load_data
>>> sample = load_data("phantom-endoscopy", size=64, limit=3)[0]
>>> tuple(sample.image.shape), sample.case.structure
((3, 64, 64), 'polyp')
"""

from palpate.data.phantoms.drawn import SPLIT_SIZES, listening_pair, phantom_data
from palpate.data.phantoms.entries import PhantomEntry, phantom_entries
from palpate.data.phantoms.modalities import PHANTOMS, Modality, Scene

__all__ = [
    "PHANTOMS",
    "SPLIT_SIZES",
    "Modality",
    "PhantomEntry",
    "Scene",
    "listening_pair",
    "phantom_data",
    "phantom_entries",
]
