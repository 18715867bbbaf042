"""The streams of random numbers: repeatable, and strangers to one another."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from normlab.data.serve.split import split_rows
from normlab.seeding import Stream, epoch_seed

seeds = st.integers(0, 2**63 - 1)
epochs = st.integers(0, 10**6)


def test_a_stream_never_changes() -> None:
    """These numbers are part of the promise that a seed repeats a run, also next year."""
    assert epoch_seed(0, 0, Stream.SHUFFLE) == 4324601099084218337
    assert epoch_seed(0, 0, Stream.DROPOUT) == 5228546342681945855
    assert epoch_seed(2**63 - 1, 999, Stream.SHUFFLE) == 8135938854518073366


@given(seeds, epochs, st.sampled_from(Stream))
def test_torch_takes_every_seed(seed: int, epoch: int, stream: Stream) -> None:
    value = epoch_seed(seed, epoch, stream)
    assert 0 <= value < 2**63
    assert value == epoch_seed(seed, epoch, stream)
    torch.Generator().manual_seed(value)


def test_neighbours_share_no_stream() -> None:
    """Not so for seed + epoch, where epoch 1 of seed 0 would be epoch 0 of seed 1."""
    drawn = [epoch_seed(s, e, stream) for s, e, stream in product(range(40), range(40), Stream)]
    assert len(set(drawn)) == len(drawn)


def test_every_bit_is_a_coin() -> None:
    """Over 4,000 neighbouring (seed, epoch): each of the 63 bits, and each bit's change."""
    drawn = np.array(
        [[epoch_seed(s, e, Stream.SHUFFLE) for e in range(200)] for s in range(20)], dtype=np.int64
    )
    bits = (drawn[..., None] >> np.arange(63)) & 1
    changes = bits[:, 1:] ^ bits[:, :-1]
    for coins in (bits, changes):
        share = coins.reshape(-1, 63).mean(0)
        assert abs(share - 0.5).max() < 5 * 0.5 / np.sqrt(4000)


def test_permutations_of_two_streams_are_uncorrelated() -> None:
    def order(seed: int, epoch: int, stream: Stream) -> np.ndarray:
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, stream))
        return torch.randperm(2000, generator=generator).numpy()

    base = order(0, 0, Stream.SHUFFLE)
    for other in (order(0, 1, Stream.SHUFFLE), order(1, 0, Stream.SHUFFLE),
                  order(0, 0, Stream.DROPOUT)):  # fmt: skip
        assert abs(np.corrcoef(base, other)[0, 1]) < 5 / np.sqrt(2000)


def test_the_split_draws_from_a_stream_of_its_own() -> None:
    """The split of a seed is not the shuffling of its epoch 0 in disguise."""
    labels = np.zeros(1000)
    labels[::2] = 1
    test = split_rows(labels, "random", 0.0, 0.2, 7).test
    generator = torch.Generator().manual_seed(epoch_seed(7, 0, Stream.SHUFFLE))
    first = torch.randperm(1000, generator=generator)[:200].numpy()
    assert len(np.intersect1d(test, first)) < 80  # 40 expected, standard deviation 5.1
