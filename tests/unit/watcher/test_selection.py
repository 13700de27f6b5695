"""Which paths are exposures, and what a walk finds."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from settings.schema import WatchSettings
from watcher.selection import Selection, walk

ROOT = Path("/data/night")


@pytest.fixture
def selection() -> Selection:
    return Selection(WatchSettings())


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def found(root: Path, selection: Selection, *, recursive: bool = True) -> list[str]:
    return [str(path.relative_to(root)) for path in walk(root, selection, recursive=recursive)]


@pytest.mark.parametrize(
    "name",
    [
        "a.fits",
        "a.FIT",
        "a.fts",
        "a.fits.fz",
        "A.Fits.GZ",
        "deep/er/a.fit.gz",
        "field 7 [r].fits",
        "été.fits",
        "masks.fits",
        "a.masks.txt.fits",
    ],
)
def test_an_exposure_is_known_by_its_ending(selection: Selection, name: str) -> None:
    assert selection.is_exposure(ROOT / name, ROOT)


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "a.fits.txt",
        "afits",
        ".fits",
        ".a.fits.Xy12Zq",
        ".a.fits",
        "a.fits.part",
        "a.fits.filepart",
        "a.fits.tmp",
        "a.fits~",
        ".~tmp~/a.fits",
        "deep/.rsync-partial/a.fits",
        "upload.tmp/a.fits",
        "../elsewhere/a.fits",
        "",
    ],
)
def test_temporary_and_other_names_are_no_exposures(selection: Selection, name: str) -> None:
    assert not selection.is_exposure(ROOT / name, ROOT)


@pytest.mark.parametrize(
    "name", ["a.masks.fits", "a.masks3.fits", "a.masks12.fits", "a.masks.fits.fz", "a.mask.fits"]
)
def test_our_own_masks_are_no_exposures(selection: Selection, name: str) -> None:
    assert not selection.is_exposure(ROOT / name, ROOT)


def test_a_path_outside_the_root_is_no_exposure(selection: Selection) -> None:
    assert not selection.is_exposure(Path("/data/other/a.fits"), ROOT)


def test_the_names_above_the_root_do_not_matter(selection: Selection) -> None:
    root = Path("/home/x/.cache/in.tmp")
    assert selection.is_exposure(root / "a.fits", root)


def test_endings_and_patterns_are_settable() -> None:
    selection = Selection(WatchSettings(suffixes=(".IMH",), ignore=("focus*",)))
    assert selection.is_exposure(ROOT / "a.imh", ROOT)
    assert not selection.is_exposure(ROOT / "a.fits", ROOT)
    assert not selection.is_exposure(ROOT / "focus1" / "a.imh", ROOT)


def test_a_walk_finds_exposures_by_name_in_each_directory(
    tmp_path: Path, selection: Selection
) -> None:
    for name in ("b.fits", "a.fits", "notes.txt", "z/b.fit", "z/a.fit", "k/c.fits.fz", ".h/d.fits"):
        touch(tmp_path / name)
    assert found(tmp_path, selection) == ["a.fits", "b.fits", "k/c.fits.fz", "z/a.fit", "z/b.fit"]
    assert found(tmp_path, selection, recursive=False) == ["a.fits", "b.fits"]


def test_every_path_of_a_walk_is_an_exposure(tmp_path: Path, selection: Selection) -> None:
    for name in ("a.fits", ".a.fits", "x.tmp/a.fits", "y/a.masks.fits", "y/a.fits", "q.fits/a.fit"):
        touch(tmp_path / name)
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    expected = {path for path in everything if selection.is_exposure(path, tmp_path)}
    assert set(walk(tmp_path, selection, recursive=True)) == expected
    assert len(expected) == 3


def test_a_directory_named_like_an_exposure_is_said_once(
    tmp_path: Path, selection: Selection, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path / "x.fits" / "a.fits")
    with caplog.at_level(logging.INFO):
        assert found(tmp_path, selection) == ["x.fits/a.fits"]
        assert found(tmp_path, selection) == ["x.fits/a.fits"]
    assert [record.getMessage() for record in caplog.records] == [
        f"passed over path={tmp_path}/x.fits reason=it is named like an exposure but is a directory"
    ]


def test_a_fifo_is_not_yielded(
    tmp_path: Path, selection: Selection, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe.fits")
    touch(tmp_path / "a.fits")
    with caplog.at_level(logging.INFO):
        assert found(tmp_path, selection) == ["a.fits"]
    assert "is no regular file" in caplog.text


def test_links_to_files_are_followed_and_links_to_nowhere_are_not(
    tmp_path: Path, selection: Selection
) -> None:
    target = touch(tmp_path / "store" / "raw.dat")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.fits").symlink_to(target)
    (root / "gone.fits").symlink_to(tmp_path / "nowhere")
    assert found(root, selection) == ["a.fits"]


def test_links_to_directories_are_followed_once(tmp_path: Path, selection: Selection) -> None:
    touch(tmp_path / "store" / "a.fits")
    root = tmp_path / "root"
    touch(root / "own" / "b.fits")
    (root / "one").symlink_to(tmp_path / "store")
    (root / "two").symlink_to(tmp_path / "store")
    (root / "all").symlink_to(root / "own")
    (root / "own" / "up").symlink_to(root)
    assert found(root, selection) == ["own/b.fits", "one/a.fits"]


def test_an_unreadable_directory_is_passed_over_and_told_once(
    tmp_path: Path,
    selection: Selection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a/1.fits", "b/2.fits", "c/3.fits"):
        touch(tmp_path / name)
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refusing)
        assert found(tmp_path, selection) == ["a/1.fits", "c/3.fits"]
        assert found(tmp_path, selection) == ["a/1.fits", "c/3.fits"]
        assert selection.passed_over == {tmp_path / "b"}
    assert [record.getMessage() for record in caplog.records] == [
        f"passed over directory={tmp_path}/b reason=Permission denied"
    ]
    assert found(tmp_path, selection) == ["a/1.fits", "b/2.fits", "c/3.fits"]
    assert selection.passed_over == frozenset()


def test_a_missing_root_yields_nothing(
    tmp_path: Path, selection: Selection, caplog: pytest.LogCaptureFixture
) -> None:
    assert found(tmp_path / "not there", selection) == []
    assert caplog.records[0].levelname == "WARNING"
    assert selection.passed_over == frozenset()
