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


def epoch_seed(seed: int, epoch: int, stream: Stream) -> int:
    """A 63-bit seed for `torch.Generator`, well mixed (NumPy's SeedSequence)."""
    mixed = np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0]
    return int(mixed >> 1)
