"""Rows of a table with categories and missing values become inputs of a network.

Everything learnt here comes from the training rows alone and is kept in buffers with a leading axis
of runs, whose shapes follow from the table and the settings: runs that differ in their seed share a
network, and a checkpoint predicts from the rows of any file that its schema can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from normlab.data.serve.rows import Rows, as_rows

CHUNK = 65_536  # rows at once while fitting, which bounds the memory


class Encoder(nn.Module):
    """Splits rows into numbers, which a scaler takes, and inputs of 0 and 1, which need none.

    A missing value (nan) becomes the median of its column in the training rows, or the most
    frequent value of a boolean or a category, the smallest code of several. A category becomes a
    one-hot of its column's places: one for each of the most frequent in the training rows, one
    that the rarer share, and one for those that the training rows do not hold.

    Args:
        types: of each column of the rows: "numeric", "boolean" or "categorical".
        categories: for each column the number of its categories; of no account for the others.
        max_categories: places for the most frequent categories of a column.
        indicators: positions of the columns that get a further input: 1 where missing, else 0.
        impute: whether values may be missing; else a nan stays one among numbers and booleans,
            and is an unseen category.
    """

    fill: Tensor  # (runs, columns), what stands in for a missing value
    places: Tensor  # int64 (runs, all codes of all columns), a code's place among the inputs

    def __init__(
        self,
        types: Sequence[str],
        categories: Sequence[int],
        max_categories: int,
        indicators: Sequence[int] = (),
        impute: bool = False,
    ) -> None:
        super().__init__()
        self.types = list(types)
        self.categories = list(categories)
        self.max_categories = max_categories
        self.indicators = list(indicators)
        self.impute = impute
        self._numeric, self._boolean, self._coded = (
            [i for i, kind in enumerate(types) if kind == wanted]
            for wanted in ("numeric", "boolean", "categorical")
        )
        self._kept = [min(max_categories, self.categories[i]) for i in self._coded]
        shared = [int(self.categories[i] > max_categories) for i in self._coded]
        self._widths = [k + rare + 1 for k, rare in zip(self._kept, shared, strict=True)]
        self.register_buffer("fill", torch.zeros(1, len(self.categories)))
        n_codes = sum(self.categories[i] + 1 for i in self._coded)
        self.register_buffer("places", torch.zeros(1, n_codes, dtype=torch.int64))

    @property
    def n_numeric(self) -> int:
        return len(self._numeric)

    @property
    def n_others(self) -> int:
        """Inputs beside the numbers: booleans, one-hot places, indicators."""
        return len(self._boolean) + sum(self._widths) + len(self.indicators)

    @torch.no_grad()
    def fit(self, rows: Tensor | Rows) -> Self:
        """Learns what fills a gap, and which categories have a place of their own, for one run.

        Args:
            rows: the training rows (n, columns).
        """
        rows = as_rows(rows)
        if self.impute:
            for i, column in zip(self._numeric, rows.columns(self._numeric), strict=True):
                known = column[~column.isnan()]
                if len(known):
                    self.fill[0, i] = _median(known)
        counts = self._counts(rows)
        if self.impute:
            for i, count in counts.items():
                self.fill[0, i] = count.argmax()  # of equally frequent ones the smallest
                count[count.argmax()] += len(rows) - count.sum()
        first_code = first_place = 0
        for i, kept, width in zip(self._coded, self._kept, self._widths, strict=True):
            n_codes = self.categories[i] + 1
            count = counts[i][: n_codes - 1]
            # Stable: of equally frequent ones the smaller code is kept.
            order = count.argsort(descending=True, stable=True).to(self.places.device)
            places = torch.full_like(self.places[0, :n_codes], width - 1)
            places[order] = width - 2  # shared by the rarer, where there is such a place
            places[order[:kept]] = torch.arange(kept, device=order.device)
            places[:-1][count.to(order.device) == 0] = width - 1  # not in the training rows
            self.places[0, first_code : first_code + n_codes] = places + first_place
            first_code, first_place = first_code + n_codes, first_place + width
        return self

    def _counts(self, rows: Rows) -> dict[int, Tensor]:
        """How often each code of a boolean or a category stands in the rows, by position."""
        sizes = dict.fromkeys(self._boolean, 2)
        sizes |= {i: self.categories[i] + 1 for i in self._coded}
        counts = {
            i: torch.zeros(n, dtype=torch.int64, device=rows.device) for i, n in sizes.items()
        }
        for chunk in rows if counts else ():
            for i, n_codes in sizes.items():
                column = chunk[:, i]
                counts[i] += column[~column.isnan()].long().bincount(minlength=n_codes)
        return counts

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows (runs, n, columns): the numbers (runs, n, n_numeric), in raw units, and the other
        inputs (runs, n, n_others).
        """
        gaps = rows.isnan()
        if self.impute:
            rows = rows.where(~gaps, self.fill[:, None].to(rows.dtype))
        others = [rows[..., self._boolean]]
        if self._coded:
            others.append(self._one_hot(rows[..., self._coded]))
        if self.indicators:
            others.append(gaps[..., self.indicators].to(rows.dtype))
        return rows[..., self._numeric], torch.cat(others, -1)

    def _one_hot(self, codes: Tensor) -> Tensor:
        """All columns' places (runs, n, sum of the widths) of codes (runs, n, coded columns)."""
        counts = torch.tensor([self.categories[i] for i in self._coded], device=codes.device)
        starts = (counts + 1).cumsum(0) - counts - 1
        known = (codes >= 0) & (codes < counts)  # false for nan
        index = codes.where(known, counts.to(codes.dtype)).long() + starts
        places = self.places.gather(1, index.flatten(1)).view(index.shape)
        # Not len(codes), which torch.export would take for a constant.
        empty = codes.new_zeros(codes.shape[0], codes.shape[1], sum(self._widths))
        return empty.scatter(2, places, 1.0)

    @torch.no_grad()
    def never_seen(self, rows: Tensor | Rows) -> Tensor:
        """Which of the other inputs (n_others,) are 0 in all of the training rows."""
        rows = as_rows(rows)
        used = torch.zeros(self.n_others, dtype=torch.bool, device=rows.device)
        for chunk in rows:
            for part in chunk.split(CHUNK):
                used |= (self(part[None])[1] != 0).any(1).squeeze(0)
        return ~used

    def numbers(self, rows: Tensor | Rows) -> Rows:
        """The numeric columns of the training rows, without gaps."""
        return as_rows(rows).map(
            lambda chunk: torch.cat([self(part[None])[0][0] for part in chunk.split(CHUNK)])
        )

    def settings(self) -> dict[str, Any]:
        """Arguments, as plain types, of an encoder with buffers of the same shapes."""
        return {
            "types": self.types,
            "categories": self.categories,
            "max_categories": self.max_categories,
            "indicators": self.indicators,
            "impute": self.impute,
        }


def _median(values: Tensor) -> float:
    """With the mean of the two middle values, as numpy's; torch's own takes the lower one."""
    ordered = values.double().sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]).item() / 2
