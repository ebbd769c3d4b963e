"""Networks of segmentation_models_pytorch (``smp/Unet``, ...), an optional dependency."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from palpate.errors import did_you_mean
from palpate.models.preprocessing import of_photographs
from palpate.models.request import Request
from palpate.models.wrap.calling import Calling
from palpate.models.wrap.outputs import Reading
from palpate.models.wrap.wrap import Wrapped
from palpate.randomness import seeded

_PREFIX, _PACKAGE = "smp/", "segmentation_models_pytorch"
_MULTIPLE = 32  # the input size must be divisible by this: five stages, each with stride 2


def is_smp(name: str) -> bool:
    """Whether a name refers to a network of segmentation_models_pytorch."""
    return name.startswith(_PREFIX)


def load_smp(request: Request) -> Wrapped:
    """Create a network with a random decoder, and a random or pretrained encoder.

    Options are ``input_size`` (side of the square input in pixels) and the arguments of the class,
    such as ``encoder_name`` (default ``resnet34``) and ``encoder_weights`` (default null, which
    means random weights) and ``in_channels`` (3, or 1 for grey images).

    Raises:
        ValueError: If the package cannot be imported, or the network or an option is unknown.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    options = dict(request.options)
    calling = Calling(options.get("in_channels", 3))
    size = of_photographs(options.pop("input_size", None), calling.channels)
    with seeded(request.seed):
        net = _make(request.name, options)
    return Wrapped(
        net.requires_grad_(False),
        Reading(),
        size,
        calling=calling,
        multiple=_MULTIPLE,
        tower="encoder.",
        name=request.name,
        options=request.options,
        seed=request.seed,
        fresh=True,
        licence="that of the encoder's weights" if options.get("encoder_weights") else "yours",
        origin=f"encoder {options.get('encoder_weights') or 'at random'}, decoder at random",
    )


def _make(name: str, options: Mapping[str, Any]) -> nn.Module:
    package = _package()
    kinds = {
        key.lower(): kind
        for key, kind in vars(package).items()
        if inspect.isclass(kind) and issubclass(kind, nn.Module)
    }
    wanted = name.removeprefix(_PREFIX).lower()
    if wanted not in kinds:
        raise ValueError(
            f"There is no network {name!r}; expected smp/ with one of {', '.join(kinds)}."
            f"{did_you_mean(wanted, kinds)}"
        )
    given = {"encoder_weights": None, "in_channels": 3, **options, "classes": 1}
    try:
        made: nn.Module = kinds[wanted](**given)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{name} cannot be made with {dict(options)}: {error}.") from error
    return made


def _package() -> Any:
    try:
        return importlib.import_module(_PACKAGE)
    # A torchvision that does not fit the installed torch raises a RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"Networks of {_PACKAGE} need it and a torchvision that fits this torch: install them "
            f"with `pip install {_PACKAGE} timm` ({error})."
        ) from error
