"""A table written batch by batch: the file appears whole or not at all."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import polars as pl

from normlab.data.file.records import Dialect
from normlab.errors import UserError

Kind = Literal["csv", "csv.gz", "parquet"]
KINDS: tuple[Kind, ...] = ("csv", "csv.gz", "parquet")


def kind_of(path: Path) -> Kind:
    """What a file's name says that it is.

    Raises:
        UserError: it says none of `KINDS`.
    """
    for kind in KINDS:
        if path.name.lower().endswith(f".{kind}"):
            return kind
    endings = ", ".join(f".{kind}" for kind in KINDS)
    raise UserError(f"{path}: the ending says what to write: give one of {endings}")


def refuse_output(path: Path, force: bool = False) -> None:
    """Refuses a place where nothing can or should be written, before any work is done.

    Args:
        force: whether a file that exists is to be replaced.

    Raises:
        UserError: naming the place and the way out.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the name of a file")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a pipe or a device: give the name of a file")
    if path.exists() and not force:
        raise UserError(f"{path} exists: give another name, or --force to replace it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: no right to write in {path.parent}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside the path to write to; it takes the path's place once all is on the disk.

    After an exception the path is what it was before, and the other file is gone.

    Raises:
        UserError: the disk is full, or the like.
    """
    path = path.resolve()  # what a link points to is replaced, not the link
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        _sync(partial)
        os.replace(partial, path)
        _sync(path.parent)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def write_table(
    frames: Iterator[pl.DataFrame],
    path: Path,
    kind: Kind,
    dialect: Dialect | None = None,
    quoted: bool = True,
) -> None:
    """Writes frames of one schema, one below the other, in bounded memory.

    Args:
        frames: at least one.
        dialect, quoted: as of `write_csv`.

    Raises:
        UserError: it cannot be written; and whatever the frames raise. No file is left then.
    """
    with replacing(path) as partial:
        if kind == "parquet":
            write_parquet(frames, partial)
        elif kind == "csv.gz":
            with gzip.open(partial, "wb", compresslevel=6) as packed:
                write_csv(frames, packed, dialect, quoted)  # pyright: ignore[reportArgumentType]
        else:
            with partial.open("wb") as file:
                write_csv(frames, file, dialect, quoted)


def write_csv(
    frames: Iterator[pl.DataFrame],
    file: BinaryIO,
    dialect: Dialect | None = None,
    quoted: bool = True,
) -> None:
    """UTF-8 with a header, LF, and quotation marks where a cell needs them.

    Args:
        dialect: gives the separator and the decimal sign; those of `Dialect` by default.
        quoted: whether a cell may need quotation marks: to look for it takes half of the time.

    Raises:
        UserError: a column holds lists or structures, which CSV cannot.
    """
    dialect = dialect or Dialect()
    header = True
    for frame in frames:
        for name, kind in frame.schema.items():
            if kind.is_nested():
                raise UserError(
                    f"column {name!r} holds values of the type {kind}, which CSV cannot: write "
                    f".parquet, or leave the column out"
                )
        frame.write_csv(
            file,
            include_header=header,
            separator=dialect.separator_character,
            decimal_comma=dialect.decimal == "comma",
            quote_style="necessary" if quoted else "never",
        )
        header = False


def write_parquet(frames: Iterator[pl.DataFrame], path: Path) -> None:
    """Parquet, a row group after the other.

    polars writes from a thread of its own, so that this one can be told to end meanwhile.
    """
    from polars.io.plugins import register_io_source

    first = next(frames)
    ended = threading.Event()

    def source(*_: object) -> Iterator[pl.DataFrame]:
        yield first
        for frame in frames:
            if ended.is_set():
                raise InterruptedError
            yield frame

    write: Callable[..., None] = register_io_source(source, schema=first.schema).sink_parquet  # pyright: ignore[reportAssignmentType]
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(write, path)
        try:
            task.result()
        except BaseException:
            ended.set()
            raise


def _sync(path: Path) -> None:
    """Until what stands at the path is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
