"""A file as UTF-8 text that every later step can read by its path, whatever it was saved as.

A gzip archive or another encoding is turned into plain text once, in a temporary file: the lines
keep their numbers, and no step needs the whole of a large file in memory.
"""

from __future__ import annotations

import codecs
import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from normlab.errors import UserError

Encoding = Literal["auto", "utf-8", "utf-16", "latin-1", "cp1252"]

CHUNK = 1 << 20  # bytes
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"SQLite format": "an SQLite data base",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
}


@dataclass(frozen=True)
class Source:
    """A file that can be read as text or as Parquet.

    Attributes:
        name: the file's own, for messages.
        path: of the file to read: of a plain copy where it was packed or not UTF-8.
        parquet: whether it is a Parquet file; else it is UTF-8 text, which is yet to be proved.
        saved_as: encoding and packing, in words.
    """

    name: str
    path: Path
    parquet: bool
    saved_as: str


def holds(source: Source, part: bytes) -> bool:
    """Whether a byte stands anywhere in the file."""
    with source.path.open("rb") as file:
        return any(part in chunk for chunk in iter(lambda: file.read(CHUNK), b""))


@contextmanager
def opened(path: Path, encoding: Encoding = "auto") -> Iterator[Source]:
    """The file as a source; a temporary copy of it is removed at the end.

    Raises:
        UserError: the file cannot be read, is of another kind, is cut off or holds bytes that the
            encoding does not know.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(
                f"{str(path)!r} is a pipe or a device. Save the table in a regular file."
            )
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(PARQUET):
            yield Source(path.name, path, True, "Parquet")
        elif start.startswith(GZIP):
            yield from _unpacked(path, encoding)
        else:
            yield from _decoded(path, path.name, encoding, "")
    except OSError as error:  # from the file alone: nothing else here touches the system
        remedy = {
            FileNotFoundError: f"Check data.path; it is relative to {Path.cwd()}.",
            IsADirectoryError: "Give the path of one file.",
            PermissionError: "Ask for the right to read it.",
        }.get(type(error), "Check data.path.")
        reason = error.strerror or error
        raise UserError(f"Cannot read {str(path)!r}: {reason}. {remedy}") from error


def _unpacked(path: Path, encoding: Encoding) -> Iterator[Source]:
    with tempfile.NamedTemporaryFile(prefix="normlab-", suffix=".csv") as copy:
        try:
            with gzip.open(path, "rb") as packed:
                while chunk := packed.read(CHUNK):
                    copy.write(chunk)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(
                f"{path.name} is a gzip archive that is cut off or damaged ({error}). Fetch or "
                "pack the file again."
            ) from error
        copy.flush()
        yield from _decoded(Path(copy.name), path.name, encoding, ", gzip")


def _decoded(path: Path, name: str, encoding: Encoding, packing: str) -> Iterator[Source]:
    with path.open("rb") as file:
        start = file.read(16)
    for prefix, what in OTHER_FORMATS.items():
        if start.startswith(prefix):
            raise UserError(f"{name} is {what}. Save it as plain CSV in UTF-8.")
    if start.startswith(GZIP) or (packing and start.startswith(PARQUET)):
        raise UserError(f"{name} is packed twice. Unpack it once.")
    if encoding == "auto":
        encoding = "utf-16" if start.startswith(UTF16_MARKS) else "utf-8"
    if encoding == "utf-8":
        yield Source(name, path, False, f"UTF-8{packing}")
        return
    codec: str = encoding
    if encoding == "utf-16" and not start.startswith(UTF16_MARKS):
        codec = "utf-16-be" if start.startswith(b"\0") else "utf-16-le"
    with (
        path.open("rb") as file,
        tempfile.NamedTemporaryFile(prefix="normlab-", suffix=".csv") as copy,
    ):
        _transcode(file, copy, name, codec)  # type: ignore[arg-type]
        copy.flush()
        yield Source(name, Path(copy.name), False, f"{encoding.upper()}{packing}")


def _transcode(file: BinaryIO, copy: BinaryIO, name: str, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    while True:
        chunk = file.read(CHUNK)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            # What precedes the fault within this chunk decides on the line.
            before = codecs.decode(error.object[: error.start], error.encoding, "ignore")
            raise UserError(
                f"{name}, line {lines + before.count(chr(10))}: not {encoding} text "
                f"({error.reason}). Set data.encoding to what the file is in, or save it as UTF-8."
            ) from error
        if not chunk:
            return
        lines += text.count("\n")
        copy.write(text.encode("utf-8", "surrogatepass"))
