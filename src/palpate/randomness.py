"""Random numbers that depend on names, never on the order of work.

Everything random in palpate draws from a generator made of a seed and of what it is for, such as
``generator(seed, key, attack)``. Batch size, sharding and resuming then change nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator that the same seed and purpose always seed alike.

    >>> a, b = generator(0, "image-1", "pgd"), generator(0, "image-1", "pgd")
    >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
    True
    """
    return torch.Generator().manual_seed(seed_for(seed, *purpose))


def seed_for(seed: int, *purpose: str | int) -> int:
    """The seed, from 0 to 2 ** 63 - 1, that ``generator`` gives to a purpose."""
    digest = blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's own generators start at ``seed``; outside, it is as if nothing was drawn.

    For what takes no generator: the first weights of a layer, dropout.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def choose(count: int, seed: int, *purpose: str | int) -> int:
    """One of ``0 .. count - 1``, uniformly.

    >>> choose(1, 0, "only one")
    0
    """
    return int(torch.randint(count, (), generator=generator(seed, *purpose)))
