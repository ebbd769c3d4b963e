"""Segment Anything in its versions, from a folder in Hugging Face's layout."""

from palpate.models.promptable.placing import Placing
from palpate.models.promptable.reading import Kind, read_network, read_preprocessing, side_of
from palpate.models.promptable.segment_anything import SegmentAnything
from palpate.models.request import Request
from palpate.models.weights import read_json

BOX_OPTIONS = ("margin", "jitter")
SEGMENT_ANYTHING = {
    "sam": Kind("SamModel", "Apache-2.0", padded=True),
    "sam_hq": Kind("SamHQModel", "Apache-2.0", padded=True),
    "sam2": Kind("Sam2Model", "Apache-2.0"),
    "sam2_video": Kind("Sam2Model", "Apache-2.0"),  # as its authors publish it
}


def load_segment_anything(request: Request) -> SegmentAnything:
    """A SAM, HQ-SAM or SAM 2 that is asked with boxes.

    Options are ``margin`` and ``jitter``, see :class:`Placing`.

    Raises:
        FileNotFoundError: If its files are not there.
        ValueError: If its weights do not fit, or an option makes no sense.
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
