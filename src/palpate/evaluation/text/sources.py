"""The texts that an attack on the prompt may use for each sample of a data set."""

import json
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain

from palpate.attacks.text import PromptSource
from palpate.data import Samples
from palpate.data.sample import Case


def text_sources(data: Samples, cases: Sequence[Case]) -> list[PromptSource]:
    """List the texts that attacks may use, for each sample in order.

    A data set provides all texts of its samples as ``texts``. Without this attribute only the
    prompts are known, and no texts about other structures in the same image.

    Args:
        data: The samples.
        cases: The cases of all samples.
    """
    pool = tuple(dict.fromkeys(case.prompt for case in cases))
    texts = getattr(data, "texts", None)
    if texts is None:
        return [PromptSource(case.prompt, others=pool) for case in cases]
    own = [tuple(chain.from_iterable(levels.values())) for levels in texts]
    by_image: dict[tuple[str, str, str], dict[tuple[str, ...], None]] = {}
    for case, said in zip(cases, own, strict=True):
        by_image.setdefault(_image(case), {})[said] = None
    return [
        PromptSource(
            case.prompt,
            own=said,
            beside=tuple(chain.from_iterable(x for x in by_image[_image(case)] if x != said)),
            others=pool,
        )
        for case, said in zip(cases, own, strict=True)
    ]


def hash_sources(sources: Sequence[PromptSource]) -> str:
    """Hash all texts about the samples' own images.

    Texts of other samples are not included: they are prompts, which the hash of the data covers.
    """
    digest = blake2b(digest_size=8)
    for source in sources:
        digest.update(json.dumps([source.prompt, source.own, source.beside]).encode())
    return digest.hexdigest()


def _image(case: Case) -> tuple[str, str, str]:
    return case.dataset, case.split, case.image_name
