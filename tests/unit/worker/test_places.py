"""Where exposures may lie and masks may go."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings.schema import RootSettings
from worker.places import PlaceError, check_exposure, check_output_dir, root_of

NOWHERE = RootSettings()


def test_the_innermost_root_counts() -> None:
    roots = [Path("/data"), Path("/data/night"), Path("/other")]
    assert root_of(Path("/data/night/a.fits"), roots) == Path("/data/night")
    assert root_of(Path("/data/nights.fits"), roots) == Path("/data")
    assert root_of(Path("/elsewhere/a.fits"), roots) is None


def test_without_roots_every_place_will_do() -> None:
    check_exposure(Path("/anywhere/a.fits"), NOWHERE)
    check_output_dir(Path("/anywhere"), NOWHERE)


def test_an_exposure_lies_under_a_root_by_its_name() -> None:
    settings = RootSettings(directories=(Path("/data"),))
    check_exposure(Path("/data/night/a.fits"), settings)
    for path in ("/dat/a.fits", "/data/../etc/a.fits", "/database/a.fits"):
        with pytest.raises(PlaceError, match="add its directory to root"):
            check_exposure(Path(path), settings)


def test_masks_go_below_a_root_or_the_output_root_with_links_resolved(tmp_path: Path) -> None:
    for name in ("data", "masks", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in").symlink_to(tmp_path / "masks")
    settings = RootSettings(directories=(tmp_path / "data",), output_root=tmp_path / "masks")
    for good in ("data/new", "masks/new/er", "in/new"):
        check_output_dir(tmp_path / good, settings)
    for bad in ("elsewhere", "data/out/new", "data/../elsewhere"):
        with pytest.raises(PlaceError, match="lies under none of the watched roots"):
            check_output_dir(tmp_path / bad, settings)
