"""The rows that `data` names, from memory or from disk."""

from __future__ import annotations

import logging

from normlab.config import Settings
from normlab.config.data import (
    BreastCancerSettings,
    CirclesSettings,
    CsvSettings,
    HeartRateSettings,
)
from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.file.memory import may_exceed_memory
from normlab.data.limits import refuse_merged_codes, refuse_overflow
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.errors import UserError

log = logging.getLogger(__name__)


def load_table(settings: Settings) -> Table:
    """The rows that `data` names.

    Raises:
        UserError: where a file cannot be read or trained on, or a step would take more of it than
            the memory may hold.
    """
    from normlab.data import synthetic
    from normlab.data.meaning import cache
    from normlab.data.read import read_table

    match settings.data:
        case CirclesSettings() as data:
            return synthetic.circles(data.rows, data.noise, data.factor, data.seed)
        case HeartRateSettings() as data:
            return synthetic.heart_rate(
                data.rows, data.mean, data.std, data.autocorrelation, data.threshold, data.seed
            )
        case BreastCancerSettings():
            return synthetic.breast_cancer()
        case CsvSettings() as data:
            if stays_on_disk(settings):
                refuse_full_batch(data)
                choices = (*file_choices(data), data.cache_dir, data.cache_max_gb)
                return cache.cached_table(data.path, data.target, *choices)
            if may_exceed_memory(data.path):  # and data.cache=false
                log.warning(
                    f"{data.path} may need more memory than is free. data.cache=true trains from "
                    f"a copy of it on disk."
                )
            return read_table(data.path, data.target, *file_choices(data))


def split_table(settings: Settings, table: Table) -> SplitTable:
    """The table, split as the settings say.

    Raises:
        UserError: where a part would be empty or lack a class, or the precision or the
            normalization that is set cannot hold the table's values.
    """
    refuse_overflow(table, settings.normalization.name, settings.batchnorm)
    refuse_merged_codes(table.schema, settings.trainer.precision)
    data = settings.data
    return SplitTable(
        table, data.split, data.val_fraction, data.test_fraction, data.batch_size, settings.seed
    )


def refuse_full_batch(data: CsvSettings) -> None:
    """Refuses steps over all rows of a table that may not fit in memory.

    Raises:
        UserError: naming the settings.
    """
    if data.batch_size is None and may_exceed_memory(data.path):
        raise UserError(
            f"data.batch_size=null holds all training rows in memory at every step, and those of "
            f"{data.path} may need more than is free. Set data.batch_size to a number of rows, "
            f"such as 1024."
        )


def stays_on_disk(settings: Settings) -> bool:
    """Whether the rows are to be read from a converted file, as they are needed."""
    data = settings.data
    if not isinstance(data, CsvSettings):
        return False
    if data.cache == "auto":
        return data.cache_dir is not None or may_exceed_memory(data.path)
    return data.cache


def file_choices(data: CsvSettings) -> tuple[Format, Selection]:
    """How the file is written, and what its columns are."""
    return (
        Format(
            data.header,
            data.separator,
            data.quote,
            data.decimal,
            data.thousands,
            data.skip_lines,
            data.encoding,
        ),
        Selection(
            data.features,
            data.drop,
            data.categorical,
            data.numeric,
            data.positive,
            data.missing,
            data.missing_values,
            data.integer_categories,
        ),
    )
