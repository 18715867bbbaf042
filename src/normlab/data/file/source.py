"""A file as UTF-8 text that every later step can read by its path, whatever it was saved as.

A gzip archive or another encoding is turned into plain text once, in a temporary file: the lines
keep their numbers, and no step needs the whole of a large file in memory.
"""

from __future__ import annotations

import codecs
import errno
import gzip
import hashlib
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
REMEDIES = {
    errno.ENOENT: "Check data.path; it is relative to {folder}.",
    errno.EISDIR: "Give the path of one file.",
    errno.EACCES: "Ask for the right to read it.",
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


@contextmanager
def opened(path: Path, encoding: Encoding = "auto") -> Iterator[Source]:
    """The file as a source; a temporary copy of it is removed at the end.

    Raises:
        UserError: the file cannot be read, is of another kind, is cut off or holds bytes that the
            encoding does not know.
    """
    with readable(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(
                f"{str(path)!r} is a pipe or a device. Save the table in a regular file."
            )
        with path.open("rb") as file:
            start = file.read(16)
    if start.startswith(PARQUET):
        yield Source(path.name, path, True, "Parquet")
    elif start.startswith(GZIP):
        with _copy() as copy:
            _unpack(path, copy)
            with _decoded(Path(copy.name), path.name, encoding, ", gzip") as source:
                yield source
    else:
        with _decoded(path, path.name, encoding, "") as source:
            yield source


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What the system says of a file that cannot be read, as one message."""
    try:
        yield
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "Try again, or copy the file to another disk.")
        reason = error.strerror or error
        raise UserError(
            f"Cannot read {str(path)!r}: {reason}. {remedy.format(folder=Path.cwd())}"
        ) from error


@contextmanager
def _copy() -> Iterator[BinaryIO]:
    """A temporary file that can be opened by its name."""
    with _room(), tempfile.NamedTemporaryFile(prefix="normlab-", suffix=".csv") as copy:
        yield copy  # type: ignore[misc]


@contextmanager
def _room() -> Iterator[None]:
    """A full disk, told of the folder that is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise UserError(
            f"Cannot write a plain copy of the table into {tempfile.gettempdir()}: "
            f"{error.strerror}. Make room, or set TMPDIR to a folder on another disk."
        ) from error


def _unpack(path: Path, copy: BinaryIO) -> None:
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


@contextmanager
def _decoded(path: Path, name: str, encoding: Encoding, packing: str) -> Iterator[Source]:
    with readable(path), path.open("rb") as file:
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
    with _copy() as copy:
        with path.open("rb") as file:
            _transcode(file, copy, name, codec)
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
            copy.flush()
            return
        lines += text.count("\n")
        copy.write(text.encode("utf-8", "surrogatepass"))


def holds(path: Path, *wanted: bytes) -> list[bool]:
    """Which of these single bytes stand anywhere in a file."""
    found = [False] * len(wanted)
    with readable(path), path.open("rb") as file:
        while not all(found) and (chunk := file.read(CHUNK)):
            found = [known or byte in chunk for known, byte in zip(found, wanted, strict=True)]
    return found


class Sha256:
    """A file's digest, taken by a thread of its own; given up where the context ends before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._given_up = False
        self._executor = ThreadPoolExecutor(1)

    def __enter__(self) -> Sha256:
        self._digest = self._executor.submit(self._read)
        return self

    def _read(self) -> str:
        digest = hashlib.sha256()
        with readable(self._path), self._path.open("rb") as file:
            while not self._given_up and (part := file.read(CHUNK)):
                digest.update(part)
        return digest.hexdigest()

    def result(self) -> str:
        """Hexadecimal; waits for the end of the file."""
        return self._digest.result()

    def __exit__(self, *error: object) -> None:
        self._given_up = True
        self._executor.shutdown()
