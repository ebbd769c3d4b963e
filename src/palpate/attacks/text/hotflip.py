"""HotFlip: replace tokens one by one by the most harmful ones."""

import warnings

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palpate.attacks.core.gradient_step import ZeroGradientWarning
from palpate.attacks.text.prompted import Spelled
from palpate.attacks.text.source import PromptSource
from palpate.attacks.text.view import View
from palpate.text.lexicon import without_repeats

_SPARE = 8  # more candidates than needed, because not every replacement gives a new text
_UNREADABLE = "\ufffd"  # replacement character, for bytes that are not valid UTF-8


def hotflip(view: View, source: PromptSource, *, flips: int = 3, top: int = 16) -> list[str]:
    r"""HotFlip (Ebrahimi et al., 2018, https://arxiv.org/abs/1712.06751) on tokens, greedily.

    Replacing the :math:`i`-th token by :math:`v` changes the loss by about
    :math:`(e_v - e_i) \cdot \nabla_{e_i} L`. The ``top`` replacements with the largest estimate are
    decoded to texts, tokenised again and scored on the image. The next replacement starts from the
    worst of these texts. Tokenising a decoded text may give other tokens, so texts are compared by
    their score after tokenisation.

    Args:
        view: Image, mask and model, which must be :class:`~palpate.attacks.text.Spelled`.
        source: Its prompt is the first text.
        flips: Number of replacements, made one after the other; at least 1.
        top: Number of texts scored per replacement, at least 1.

    Returns:
        The text after each replacement; none for a prompt without tokens.

    Raises:
        ValueError: If flips or top are not positive, or the model does not expose its tokens.
        FloatingPointError: If a loss or a gradient is not finite.

    Warns:
        ZeroGradientWarning: If the gradient of a text is zero.
    """
    if flips < 1 or top < 1:
        raise ValueError(f"Expected flips >= 1 and top >= 1, got {flips} and {top}.")
    model = view.model
    if not isinstance(model, Spelled):
        raise ValueError(
            "Expected a model that shows its tokens, see palpate.attacks.text.Spelled, got "
            f"{type(model).__name__}."
        )
    way = [source.prompt]
    for _ in range(flips):
        texts = [text for text in _flipped(model, view, way[-1], top) if text not in way]
        if not texts:
            break
        way.append(texts[view.harm(texts).worst()])
    return way[1:]


def _flipped(model: Spelled, view: View, prompt: str, top: int) -> list[str]:
    """Texts made by replacing one token of the prompt, largest estimated loss first."""
    with torch.inference_mode(False), torch.enable_grad():
        tokens = model.tokens([prompt])
        at = model.token_vectors.detach()[tokens].clone().requires_grad_()
        gradient, _ = view.slopes(at, model.read_vectors(at, tokens))
    if (gradient == 0).all():
        warnings.warn(
            f"The gradient of the text {prompt!r} was zero. Low damage is then no evidence of "
            "robustness: try loss=margin.",
            ZeroGradientWarning,
            stacklevel=3,
        )
    gains = _gains(model, tokens[0], gradient[0])
    best = gains.flatten().topk(min(_SPARE * top, gains.numel()))
    allowed = best.indices[best.values > -torch.inf]
    if not len(allowed):
        return []
    places, flips = allowed // gains.shape[1], allowed % gains.shape[1]
    spelled = model.texts(
        tokens.repeat(len(allowed), 1).scatter(1, places[:, None], flips[:, None])
    )
    readable = [text for text in spelled if _UNREADABLE not in text]
    return without_repeats(readable, prompt)[:top]


def _gains(
    model: Spelled, tokens: Int64[Tensor, " n"], gradient: Float[Tensor, "n d"]
) -> Float[Tensor, "n v"]:
    """First-order change of the loss for every replacement; minus infinity where not allowed."""
    table = model.token_vectors.detach()
    gains = gradient @ table.T - (gradient * table[tokens]).sum(1, keepdim=True)
    # Special tokens are neither inserted nor replaced, and no token is replaced by itself.
    special = torch.tensor(sorted(model.special_tokens), dtype=torch.long, device=tokens.device)
    gains[:, special] = -torch.inf
    gains[torch.isin(tokens, special)] = -torch.inf
    return gains.scatter(1, tokens[:, None], -torch.inf)
