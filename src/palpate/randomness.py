"""Random numbers that depend on a seed and a purpose, not on the order of work.

Each random draw in palpate uses a generator made from a seed and its purpose, such as
``generator(seed, key, attack)``. Results therefore do not depend on batch size, sharding or
resuming.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator whose state depends only on the seed and the purpose.

    Args:
        seed: Seed of the run.
        purpose: Names and numbers that identify the use, such as sample and attack.

    >>> a, b = generator(0, "image-1", "pgd"), generator(0, "image-1", "pgd")
    >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
    True
    """
    return torch.Generator().manual_seed(seed_for(seed, *purpose))


def seed_for(seed: int, *purpose: str | int) -> int:
    """The seed of :func:`generator` for a purpose, from 0 to 2 ** 63 - 1."""
    digest = blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # 63 bits, to fit a signed 64-bit integer


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context in which torch's global generators start at ``seed``; their state is restored after.

    For code that accepts no generator, such as weight initialisation and dropout.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def choose(count: int, seed: int, *purpose: str | int) -> int:
    """A uniform random integer from 0 to ``count - 1``.

    >>> choose(1, 0, "only one")
    0
    """
    return int(torch.randint(count, (), generator=generator(seed, *purpose)))
