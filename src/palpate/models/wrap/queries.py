"""Outputs of networks that classify queries, as those of the Mask2Former kind, as class scores."""

import torch
from jaxtyping import Float
from torch import Tensor

# Bounds of a score before the logarithm, in float32.
_LEAST, _MOST = 1e-30, 1 - 1e-7


def query_scores(
    class_logits: Float[Tensor, "b queries classes_and_none"],
    mask_logits: Float[Tensor, "b queries h w"],
) -> Float[Tensor, "b classes h w"]:
    """Combine the classes and masks of queries to scores of each class at each pixel.

    As in MaskFormer (Cheng et al., 2021, https://arxiv.org/abs/2107.06278): the score of a class is
    the sum over the queries of the probability of the class times that of the mask. Use it in a
    function that calls the network, and ``wrap`` that with ``out="classes"``:

    >>> def call(net, images):
    ...     made = net(pixel_values=images)
    ...     return query_scores(made.class_queries_logits, made.masks_queries_logits)

    Args:
        class_logits: Scores of the classes, and last that of "no object", for each query.
        mask_logits: A mask for each query, at any resolution; set ``stride`` of ``wrap`` to it.

    Returns:
        Logarithms of the scores, as class scores before a softmax, so that the highest score wins.
        With a single class, a channel for the background is put first.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    if class_logits.shape[:2] != mask_logits.shape[:2] or class_logits.shape[2] < 2:
        raise ValueError(
            "Expected class logits (b, queries, classes + 1) and mask logits (b, queries, h, w), "
            f"got {tuple(class_logits.shape)} and {tuple(mask_logits.shape)}."
        )
    classes = class_logits.float().softmax(-1)[..., :-1]
    scores = torch.einsum("bqc,bqhw->bchw", classes, mask_logits.float().sigmoid())
    if scores.shape[1] > 1:
        return scores.clamp(min=_LEAST).log()
    # Several queries may find the same object, and their sum exceed 1. The gradient is kept there.
    inside = scores + (scores.clamp(_LEAST, _MOST) - scores).detach()
    return torch.cat([(1 - inside).log(), inside.log()], dim=1)
