"""Load models of the Segment Anything family in Hugging Face's layout, alone or with a detector."""

from pathlib import Path
from typing import Any

from palpate.models.clip.config import BertConfig, TextConfig
from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.clipseg.load import processor_values
from palpate.models.files.weights import find_model, read_json
from palpate.models.promptable.grounded import GroundedSegmentAnything, Grounding, Pair
from palpate.models.promptable.placing import Placing
from palpate.models.promptable.reading import Kind, read_network, read_preprocessing, side_of
from palpate.models.promptable.sam3 import Sam3
from palpate.models.promptable.segment_anything import SegmentAnything
from palpate.models.request import Request

GROUNDED = "grounded-sam"
BOX_OPTIONS = ("margin", "jitter")
SEGMENT_ANYTHING = {
    "sam": Kind("SamModel", "Apache-2.0", padded=True),
    "sam_hq": Kind("SamHQModel", "Apache-2.0", padded=True),
    "sam2": Kind("Sam2Model", "Apache-2.0"),
    # The authors publish SAM 2 as a video model; only its image part is used here.
    "sam2_video": Kind("Sam2Model", "Apache-2.0"),
}
_HALF = (0.5, 0.5, 0.5)
_SAM3 = Kind("Sam3Model", "SAM License (Meta)", mean=_HALF, std=_HALF)
SAM3 = {"sam3": _SAM3, "sam3_video": _SAM3}
_DETECTOR = Kind("GroundingDinoForObjectDetection", "Apache-2.0")
_GROUNDED_OPTIONS = ("detector", "segmenter", "box_threshold", "box_gradient", "score_path")


def load_segment_anything(request: Request) -> SegmentAnything:
    """Load SAM, HQ-SAM or SAM 2, prompted with boxes.

    Options are ``margin`` and ``jitter``, see :class:`Placing`.

    Raises:
        FileNotFoundError: If the model's files are missing.
        ValueError: If the weights do not fit, or an option is not valid.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    request.check_options(BOX_OPTIONS)
    folder = request.folder
    kind = SEGMENT_ANYTHING[read_json(folder / "config.json")["model_type"]]
    placing = Placing(**request.options, seed=request.seed)
    net = read_network(folder, kind)
    side = side_of(net.config.prompt_encoder_config.image_size, folder)
    return SegmentAnything(
        net,
        read_preprocessing(folder, kind, side),
        padded=kind.padded,
        placing=placing,
        name=request.name,
        options=request.options,
        seed=request.seed,
        licence=f"{kind.licence} as published",
    )


def load_sam3(request: Request) -> Sam3:
    """Load SAM 3, prompted with text. It has no options.

    Raises:
        FileNotFoundError: If the model's files are missing.
        ValueError: If the weights do not fit, or an option is given.
    """
    request.refuse_adapter()
    request.check_options(())
    folder = request.folder
    kind = SAM3[read_json(folder / "config.json")["model_type"]]
    net = read_network(folder, kind)
    model = Sam3(
        net,
        read_preprocessing(folder, kind, side_of(net.config.image_size, folder)),
        padded=kind.padded,
        placing=Placing(),
        name=request.name,
        licence=f"{kind.licence}, as published",
    )
    text = net.config.text_config
    model.tokenizer = Tokenizer(
        request.tokenizer or folder,
        TextConfig(
            vocab_size=text.vocab_size,
            max_position_embeddings=text.max_position_embeddings,
            eos_token_id=text.eos_token_id,
        ),
    )
    return model


def load_grounded(request: Request) -> GroundedSegmentAnything:
    """Load Grounding DINO and a SAM as one model, prompted with text.

    Options are ``detector`` and ``segmenter`` (hub names or folders, both required),
    ``box_threshold``, ``box_gradient`` and ``score_path``, see :class:`Grounding`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If detector or segmenter is not given or is another kind of model, or its
            weights do not fit.
    """
    request.refuse_adapter()
    request.check_options(_GROUNDED_OPTIONS)
    options = dict(request.options)
    detector = _part(options, "detector", {"grounding-dino": _DETECTOR})
    segmenter = _part(options, "segmenter", SEGMENT_ANYTHING)
    grounding = _grounding(detector, options)
    finding = read_network(detector, _DETECTOR)
    kind = SEGMENT_ANYTHING[read_json(segmenter / "config.json")["model_type"]]
    cutting = read_network(segmenter, kind)
    side = side_of(cutting.config.prompt_encoder_config.image_size, segmenter)
    model = GroundedSegmentAnything(
        Pair(finding, cutting),
        read_preprocessing(segmenter, kind, side),
        padded=kind.padded,
        placing=Placing(),
        name=request.name,
        options=request.portable_options("detector", "segmenter"),
        licence=f"{_DETECTOR.licence} and {kind.licence} as published",
    )
    model.origin = f"{options['detector']}, {options['segmenter']}"
    model.grounding, model.detecting = grounding, read_preprocessing(detector, _DETECTOR, side)
    text = finding.config.text_config
    model.tokenizer = Tokenizer(
        request.tokenizer or detector,
        BertConfig(
            vocab_size=text.vocab_size,
            pad_token_id=text.pad_token_id,
            context_length=finding.config.max_text_len,
        ),
    )
    return model


def _part(options: dict[str, Any], name: str, kinds: dict[str, Kind]) -> Path:
    if name not in options:
        raise ValueError(
            f"{GROUNDED} needs the option {name}: the hub name or folder of a {' or '.join(kinds)}."
        )
    folder = find_model(options[name])
    found = read_json(folder / "config.json").get("model_type")
    if found not in kinds:
        raise ValueError(
            f"Expected the {name} to be a {' or '.join(kinds)}, got model_type {found!r} in "
            f"{folder}."
        )
    return folder


def _grounding(folder: Path, options: dict[str, Any]) -> Grounding:
    size = processor_values(folder).get("size") or {}
    sides = {"shortest": size.get("shortest_edge"), "longest": size.get("longest_edge")}
    given = {
        "threshold": options.get("box_threshold"),
        "box_gradient": options.get("box_gradient"),
        "score_path": options.get("score_path"),
    }
    return Grounding(**{k: v for k, v in (sides | given).items() if v is not None})
