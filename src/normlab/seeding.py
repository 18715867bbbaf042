"""How one seed makes every random choice: each draws from its own stream of (seed, epoch).

A choice that depends on (seed, epoch) alone is the same in a resumed run as in an uninterrupted
one, and the same under every normalization.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a random stream is for; streams of one seed are independent of one another."""

    SHUFFLE = 1
    DROPOUT = 2


def epoch_seed(seed: int, epoch: int, stream: Stream, rank: int = 0) -> int:
    """A 63-bit seed for `torch.Generator`, well mixed (NumPy's SeedSequence).

    Args:
        rank: of the process, where each is to draw its own; the first draws as one alone would.
    """
    entropy = [seed, epoch, stream, *([rank] if rank else [])]
    mixed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    return int(mixed >> 1)
