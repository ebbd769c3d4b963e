"""Reading of files in zip and tar archives; no file is unpacked to disk by its name."""

import bz2
import gzip
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import IO, Any, BinaryIO, Literal, cast

from palpate.data.prepare.member import Member, link_target, refuse_unsafe
from palpate.data.problems import refuse

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# First bytes of formats that Python cannot read.
_FOREIGN = {b"Rar!": "a RAR", b"7z\xbc\xaf": "a 7-Zip"}
# Limits against decompression bombs: a ratio, a size up to which any ratio is harmless, and a total
# size. Images hardly compress, masks rarely a hundredfold; deflate reaches at most 1032 to 1.
_RATIO, _HARMLESS, _TOTAL = 500, 64 << 20, 256 << 30
# Python cannot read Deflate64, which Windows uses for files above 2 GB.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError)
_OPENERS: dict[bytes, Callable[[Path], AbstractContextManager[Any]]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZ": bz2.BZ2File,
    b"\xfd7": lzma.LZMAFile,
}
_CHUNK = 1 << 20


def without_ending(name: str) -> str:
    """Remove the extension of an archive from a name; other names are not changed.

    >>> without_ending("kvasir-seg.zip"), without_ending("CAMUS.tar.gz"), without_ending("images")
    ('kvasir-seg', 'CAMUS', 'images')
    """
    lower = name.lower()
    return name[: -len(next((e for e in (*_TAR, ".zip") if lower.endswith(e)), "")) or None]


def archive_members(path: Path, stack: ExitStack) -> dict[str, Member]:
    """Open an archive and list its files.

    Args:
        path: A zip or tar, recognised by its content.
        stack: Keeps the archive open until it is closed.

    Returns:
        The files by name.

    Raises:
        ValueError: If the archive is incomplete, encrypted, of another format or a decompression
            bomb, if names are repeated, or if a name or link leads outside.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start in _FOREIGN:
        raise ValueError(
            f"Expected a folder, a zip or a tar, got {_FOREIGN[start]} archive in {path}. "
            "Unpack it, and pass the folder."
        )
    packed = start[:2] in _OPENERS or is_archive(path.name) == "tar"
    return _tar_members(path, stack) if packed else _zip_members(path, stack)


def is_archive(name: str) -> Literal["zip", "tar"] | None:
    """Type of archive by the extension of a file; None if it is not an archive.

    >>> is_archive("a.ZIP"), is_archive("a.tar.gz"), is_archive("a.nii.gz")
    ('zip', 'tar', None)
    """
    lower = name.lower()
    if lower.endswith(_TAR):
        return "tar"
    return "zip" if lower.endswith(".zip") else None


def _zip_members(path: Path, stack: ExitStack) -> dict[str, Member]:
    with _whole(path):
        archive = stack.enter_context(zipfile.ZipFile(path))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    _check_entries(entries, path)
    with _whole(path):
        links = {
            _plain(e.filename): archive.read(e).decode(errors="replace")
            for e in entries
            if _is_link(e)
        }
    members = {
        _plain(e.filename): Member(e.file_size, partial(_open_zipped, archive, e, path))
        for e in entries
    }
    return _follow(links, members, path)


def _tar_members(path: Path, stack: ExitStack) -> dict[str, Member]:
    # A compressed tar is decompressed first, since its files are read in any order.
    with _whole(path):
        stream = stack.enter_context(_expanded(path))
        archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115
        entries = archive.getmembers()
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end-of-archive block is missing")
    files = [entry for entry in entries if entry.isfile()]
    refuse_unsafe([entry.name for entry in entries], path)
    _refuse_twice([entry.name for entry in files], path)
    lock = Lock()
    members = {
        _plain(e.name): Member(e.size, partial(_open_tarred, stream, lock, e, path)) for e in files
    }
    return _follow(_tar_links(entries), members, path)


def _check_entries(entries: list[zipfile.ZipInfo], path: Path) -> None:
    refuse_unsafe([entry.filename for entry in entries], path)
    refuse(
        [entry.filename for entry in entries if entry.flag_bits & 1],
        f"Expected a zip without a password, got encrypted files in {path}",
        remedy="Unpack it with its password, and pass the folder.",
    )
    refuse(
        [entry.filename for entry in entries if entry.compress_type not in _METHODS],
        f"Expected a zip compressed by deflate, got files of another method in {path}",
        remedy="Unpack it with the tool that made it, and pass the folder.",
    )
    bombs = [e for e in entries if e.file_size > max(_HARMLESS, _RATIO * e.compress_size)]
    refuse(
        [f"{e.filename}: {e.compress_size} bytes that unpack to {e.file_size}" for e in bombs],
        f"Expected files that unpack to at most {_RATIO} times their size, got a bomb in {path}",
        remedy="Do not trust this file; download it from its publisher.",
    )
    _refuse_total(sum(entry.file_size for entry in entries), path)
    _refuse_twice([entry.filename for entry in entries], path)


def _refuse_total(total: int, path: Path) -> None:
    if total > _TOTAL:
        raise ValueError(
            f"Expected an archive that unpacks to at most {_TOTAL >> 30} GiB, got "
            f"{total >> 30} GiB in {path}. Unpack it yourself if you trust it, and pass the folder."
        )


def _refuse_twice(names: list[str], path: Path) -> None:
    refuse(
        [f"{name} ({count} times)" for name, count in Counter(names).items() if count > 1],
        f"Expected each name once, got several files of one name in {path}",
        remedy="Pack the archive anew.",
    )


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(entry.external_attr >> 16)


def _tar_links(entries: list[tarfile.TarInfo]) -> dict[str, str]:
    """Target of each link in a tar, relative to the folder of the link."""
    # Targets of hard links are relative to the root of the archive instead.
    rooted = {e.name: "../" * e.name.count("/") + e.linkname for e in entries if e.islnk()}
    return rooted | {e.name: e.linkname for e in entries if e.issym()}


def _follow(links: dict[str, str], members: dict[str, Member], path: Path) -> dict[str, Member]:
    """Replace links by the files that they point to; links to folders are dropped."""
    targets = {name: link_target(name, to) for name, to in links.items()}
    refuse(
        [f"{name} -> {links[name]}" for name, target in targets.items() if target is None],
        f"Expected only links inside the archive {path}, got some that lead outside",
        remedy="Do not trust this file; download it from its publisher.",
    )
    files = {name: member for name, member in members.items() if name not in links}
    return files | {n: files[t] for n, t in targets.items() if t is not None and t in files}


@contextmanager
def _open_zipped(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path
) -> Iterator[BinaryIO]:
    try:
        with archive.open(entry) as stream:
            yield cast(BinaryIO, stream)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # error of the caller, e.g. a full disk
            raise
        raise ValueError(_damaged(path, entry.filename, str(error))) from error


@contextmanager
def _open_tarred(
    stream: IO[bytes], lock: Lock, entry: tarfile.TarInfo, path: Path
) -> Iterator[BinaryIO]:
    with lock:  # all threads share one position in the file
        stream.seek(entry.offset_data)
        content = stream.read(entry.size)
    if len(content) < entry.size:
        raise ValueError(_damaged(path, entry.name, "it ends too early"))
    yield BytesIO(content)


@contextmanager
def _expanded(path: Path) -> Iterator[IO[bytes]]:
    """Decompress a tar to a seekable temporary file; an uncompressed one is opened directly."""
    with path.open("rb") as plain:
        opener = _OPENERS.get(plain.read(2))
        if opener is None:
            plain.seek(0)
            yield plain
            return
    limit = max(_HARMLESS, _RATIO * path.stat().st_size)
    with tempfile.TemporaryFile() as spool, opener(path) as stream:
        while chunk := stream.read(_CHUNK):
            spool.write(chunk)
            if spool.tell() > limit:
                raise ValueError(
                    f"Expected an archive that unpacks to at most {_RATIO} times its size, got a "
                    f"bomb in {path}. Do not trust this file; download it from its publisher."
                )
            _refuse_total(spool.tell(), path)
        spool.seek(0)
        yield spool


def _plain(name: str) -> str:
    """Name of a file in an archive with forward slashes and without a leading ``./``."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno:  # the disk is full, or not ours to read
            raise
        raise ValueError(_damaged(path, "", str(error) or type(error).__name__)) from error


def _damaged(path: Path, name: str, reason: str) -> str:
    where = f"{name} in {path}" if name else str(path)
    return (
        f"Expected a whole archive, but {where} cannot be read ({reason}). "
        "Download it again: it may have been cut off."
    )
