import io
import os
import re
import stat
import tarfile
import zipfile

import pytest

from palpate.data.prepare import open_source

from .official import as_tar, as_zip

FILES = {
    "Kvasir-SEG/images/a b.jpg": b"first",
    "Kvasir-SEG/masks/ä ö.png": b"second",
    "notes.txt": b"third" * 1000,
}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in put ü"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def packed(folder, kind):
    path = folder.with_name(f"set.{kind}")
    if kind == "folder":
        return folder
    if kind == "zip":
        return as_zip(folder, path)
    return as_tar(folder, path, {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz"}.get(kind, "w:xz"))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz", "tgz", "tar.xz"])
def test_all_kinds_of_source_show_the_same_files(kind, folder):
    with open_source(packed(folder, kind)) as source:
        assert source.names == tuple(sorted(FILES))
        # Any order, and again: a tar has one position for all.
        for name in [*reversed(source.names), *source.names]:
            assert source.read(name) == FILES[name]
            assert source.size(name) == len(FILES[name])
        assert len({source.checksum(name) for name in FILES}) == 3


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_needs_no_ending_to_be_known(kind, folder):
    path = packed(folder, kind).rename(folder.with_name("download"))
    with open_source(path) as source:
        assert source.names == tuple(sorted(FILES))


def test_archives_in_a_folder_are_looked_into(folder):
    both = folder.with_name("both")
    both.mkdir()
    as_zip(folder, both / "images.zip")
    as_tar(folder, both / "masks.tar.gz")
    with open_source(both) as source:
        assert source.read("images.zip/notes.txt") == FILES["notes.txt"]
        assert source.read("masks.tar.gz/notes.txt") == FILES["notes.txt"]
        assert len(source.names) == 6


def test_what_file_managers_leave_behind_is_no_file_of_the_set(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("a.json", "__MACOSX/._a.json", "b/._a.json", "b/.DS_Store", "b/Thumbs.db"):
            archive.writestr(name, b"\x00\x05\x16\x07\xff")
    for path in (tmp_path / "set.zip", tmp_path):
        with open_source(path) as source:
            assert [name.rpartition("/")[2] for name in source.names] == ["a.json"]


def test_backslashes_of_some_tools_are_slashes(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "images\\a.png"
        archive.writestr(info, b"a")
    with open_source(path) as source:
        assert source.names == ("images/a.png",)


def test_a_missing_source_and_a_missing_file_are_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"nowhere, which is not there. Check --source"):
        open_source(tmp_path / "nowhere").__enter__()
    with open_source(folder) as source, pytest.raises(FileNotFoundError, match=r"other\.png"):
        source.read("other.png")


OUTSIDE = ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\evil.png"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_zips_with_names_outside_are_refused(name, tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/a.png", b"a")
        archive.writestr(name, b"evil")
    refused(path, "names inside the archive .*(?s:.*)evil.png")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE])
def test_tars_with_names_outside_are_refused(kind, name, tmp_path):
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "../../etc/passwd"
        archive.addfile(info)
    refused(path, "lead outside(?s:.*)evil.png")


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd", "C:/secret"])
def test_links_out_of_archives_are_refused(target, tmp_path):
    refused(linked_zip(tmp_path, target), "only links inside the archive .*(?s:.*)link.png -> ")
    refused(linked_tar(tmp_path, target), "only links inside the archive .*(?s:.*)link.png -> ")


def test_links_within_archives_are_the_files_they_mean(tmp_path):
    for path in (linked_zip(tmp_path, "../a.png"), linked_tar(tmp_path, "../a.png")):
        with open_source(path) as source:
            assert source.read("images/link.png") == b"content"


def test_hard_links_of_tars_are_named_from_the_root(tmp_path):
    with open_source(linked_tar(tmp_path, "a.png", tarfile.LNKTYPE)) as source:
        assert source.read("images/link.png") == b"content"


def test_links_out_of_a_folder_are_refused_and_those_within_are_not(folder):
    (folder / "same.png").symlink_to(folder / "notes.txt")
    with open_source(folder) as source:
        assert source.read("same.png") == FILES["notes.txt"]
    outside = folder.with_name("secret.txt")
    outside.write_text("secret")
    (folder / "Kvasir-SEG" / "leak.png").symlink_to(outside)
    refused(folder, "links that lead outside(?s:.*)leak.png -> .*secret.txt(?s:.*)Copy the files")


def test_a_linked_folder_outside_or_a_link_to_nowhere_is_refused(folder):
    (folder.with_name("other") / "masks").mkdir(parents=True)
    (folder / "masks").symlink_to(folder.with_name("other") / "masks")
    (folder / "gone.png").symlink_to(folder / "never-there.png")
    refused(folder, r"\(2\)(?s:.*)gone.png(?s:.*)masks")


def test_a_link_to_the_folder_it_is_in_does_not_go_on_for_ever(folder):
    (folder / "Kvasir-SEG" / "again").symlink_to(folder)
    with open_source(folder) as source:
        assert source.names == tuple(sorted(FILES))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_truncated_archive_is_refused_with_a_remedy(kind, folder):
    path = packed(folder, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    refused(path, f"whole archive, but .*set.{kind} cannot be read .*Download it again")


def test_a_damaged_member_is_named(folder):
    path = packed(folder, "zip")
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("notes.txt").header_offset
    content = bytearray(path.read_bytes())
    content[start + 40] ^= 0xFF
    path.write_bytes(content)
    with (
        open_source(path) as source,
        pytest.raises(ValueError, match=r"notes\.txt in .* cannot be read .*Download it again"),
    ):
        source.read("notes.txt")


def test_bombs_are_refused(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(80 << 20))
    refused(path, "at most 500 times their size, got a bomb(?s:.*)a.png: .* bytes that unpack to")
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = 80 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    refused(path, "at most 500 times its size, got a bomb")


def test_encrypted_and_foreign_archives_are_refused_with_a_remedy(folder, tmp_path):
    path = packed(folder, "zip")
    content = path.read_bytes()
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(signature) + offset
        content = content[:at] + b"\x01\x08" + content[at + 2 :]
    path.write_bytes(content)
    refused(path, "zip without a password(?s:.*)Unpack it with its password")
    (tmp_path / "set.rar").write_bytes(b"Rar!\x1a\x07\x01\x00rest")
    refused(tmp_path / "set.rar", "got a RAR archive .*Unpack it, and pass the folder")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    refused(tmp_path / "photo.jpg", "whole archive, but .*photo.jpg")


def test_a_zip_of_a_kind_that_python_cannot_unpack_is_told_to_be_unpacked(folder):
    path = as_zip(folder, folder.parent / "by-windows.zip")
    data = bytearray(path.read_bytes())
    for mark, method in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        places = [found.start() for found in re.finditer(re.escape(mark), data)]
        for place in places:
            data[place + method] = 9  # Deflate64
    path.write_bytes(data)
    refused(path, r"(?s)compressed by deflate, got files of another method in .*Unpack it")


def test_a_name_twice_in_an_archive_is_refused(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", b"other")
    refused(path, r"each name once(?s:.*)a.png \(2 times\)")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes with names")
def test_what_is_no_file_is_not_opened(folder):
    os.mkfifo(folder / "pipe.png")
    with open_source(folder) as source:
        assert source.names == tuple(sorted(FILES))


def refused(path, message):
    with pytest.raises(ValueError, match=message):
        open_source(path).__enter__()


def linked_zip(tmp_path, target):
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"content")
        info = zipfile.ZipInfo("images/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    return path


def linked_tar(tmp_path, target, kind=tarfile.SYMTYPE):
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = len(b"content")
        archive.addfile(info, io.BytesIO(b"content"))
        link = tarfile.TarInfo("images/link.png")
        link.type, link.linkname = kind, target
        archive.addfile(link)
    return path
