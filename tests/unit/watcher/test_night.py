"""Which night an exposure belongs to."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from watcher.night import night_of, night_of_file, observation_time

#: 2020-02-20 20:20 UTC.
MTIME = datetime(2020, 2, 20, 20, 20, tzinfo=UTC)
CHILE, HAWAII, AUSTRALIA = -70.7, -155.5, 149.1


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes an exposure with the given cards."""

    def written(*, extension: dict[str, object] | None = None, **cards: object) -> Path:
        def header(values: dict[str, object]) -> fits.Header:
            return fits.Header([(key.replace("_", "-"), value) for key, value in values.items()])

        hdus = fits.HDUList([fits.PrimaryHDU(np.zeros((30, 70), np.uint8), header(cards))])
        if extension is not None:
            hdus.append(fits.ImageHDU(np.zeros((5, 5)), header(extension)))
        path = tmp_path / "a.fits"
        hdus.writeto(path)
        os.utime(path, (MTIME.timestamp(), MTIME.timestamp()))
        return path

    return written


@pytest.mark.parametrize(
    ("moment", "longitude_deg", "night"),
    [
        ("2026-11-23T23:59:59", 0.0, "2026-11-23"),
        ("2026-11-24T00:00:01", 0.0, "2026-11-23"),
        ("2026-11-24T11:59:59", 0.0, "2026-11-23"),
        ("2026-11-24T12:00:00", 0.0, "2026-11-24"),
        ("2026-11-24T00:30:00", CHILE, "2026-11-23"),
        ("2026-11-24T09:00:00", CHILE, "2026-11-23"),
        ("2026-11-24T16:42:00", CHILE, "2026-11-23"),
        ("2026-11-24T16:43:00", CHILE, "2026-11-24"),
        ("2026-11-24T05:00:00", HAWAII, "2026-11-23"),
        ("2026-11-24T15:00:00", HAWAII, "2026-11-23"),
        ("2026-11-23T10:00:00", AUSTRALIA, "2026-11-23"),
        ("2026-11-23T19:00:00", AUSTRALIA, "2026-11-23"),
        ("2026-11-24T02:10:00", AUSTRALIA, "2026-11-24"),
        ("2027-01-01T03:00:00", 0.0, "2026-12-31"),
    ],
)
def test_a_night_runs_from_local_noon_to_noon(
    moment: str, longitude_deg: float, night: str
) -> None:
    assert night_of(datetime.fromisoformat(moment), longitude_deg).isoformat() == night


def test_a_moment_in_another_time_zone_is_the_same_moment() -> None:
    local = datetime(2026, 11, 24, 1, 0, tzinfo=timezone(timedelta(hours=-3)))
    assert night_of(local, 0.0) == date(2026, 11, 23)
    assert night_of(local + timedelta(hours=8), 0.0) == date(2026, 11, 24)


@given(
    st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)),
    st.floats(-180, 180, allow_nan=False),
)
def test_every_moment_lies_within_a_day_after_the_noon_of_its_night(
    moment: datetime, longitude_deg: float
) -> None:
    night = night_of(moment, longitude_deg)
    noon = datetime.combine(night, datetime.min.time()) + timedelta(hours=12)
    since_noon = moment + timedelta(hours=longitude_deg / 15) - noon
    assert timedelta(0) <= since_noon < timedelta(days=1)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"DATE_OBS": "2019-03-04T05:06:07.5"}, "2019-03-04T05:06:07.500+00:00"),
        ({"DATE_OBS": "2019-03-04T05:06:07Z"}, "2019-03-04T05:06:07+00:00"),
        ({"DATE_OBS": "2019-03-04T22:06:07-0700"}, "2019-03-05T05:06:07+00:00"),
        ({"DATE_OBS": "2019-03-04T05:06:07+08:00"}, "2019-03-03T21:06:07+00:00"),
        ({"DATE_OBS": "2016-12-31T23:59:60.5"}, "2017-01-01T00:00:00.500+00:00"),
        ({"DATE_BEG": "2019-03-04T05:06:07"}, "2019-03-04T05:06:07+00:00"),
        ({"DATE_OBS": "2019-03-04", "TIME_OBS": "05:06:07.5"}, "2019-03-04T05:06:07.500+00:00"),
        ({"DATE_OBS": "2019-03-04", "UT": "05:06:07"}, "2019-03-04T05:06:07+00:00"),
        ({"DATE_OBS": "2019-03-04", "UT": "n/a", "UTC": "5:6:7"}, "2019-03-04T05:06:07+00:00"),
        ({"DATE_OBS": "04/03/99", "UT": "05:06:07"}, "1999-03-04T05:06:07+00:00"),
        ({"DATE_OBS": "26/07/102", "TIME_OBS": "19:36:37"}, "2002-07-26T19:36:37+00:00"),
        ({"MJD_OBS": 58546.25}, "2019-03-04T06:00:00+00:00"),
        ({"DATE_OBS": "2019-03-04", "MJD_OBS": 58546.25}, "2019-03-04T06:00:00+00:00"),
        ({"DATE_OBS": "0000-00-00T00:00:00", "MJD_OBS": 58546.25}, "2019-03-04T06:00:00+00:00"),
    ],
)
def test_the_forms_of_an_observation_time(
    write: Callable[..., Path], cards: dict[str, object], expected: str
) -> None:
    assert observation_time(write(**cards)) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"DATE_OBS": "yesterday"},
        {"DATE_OBS": "2019-02-30T00:00:00"},
        {"DATE_OBS": "2019-13-01T00:00:00"},
        {"DATE_OBS": "1969-12-31T23:00:00"},
        {"DATE_OBS": "04/03/19", "UT": "05:06:07"},
        {"DATE_OBS": "2999-01-01T00:00:00"},
        {"DATE_OBS": 20190304},
        {"MJD_OBS": 0.0},
        {"MJD_OBS": 1e300},
        {"UT": "05:06:07"},
    ],
)
def test_what_is_no_plausible_time_leaves_the_time_of_the_last_change(
    write: Callable[..., Path], cards: dict[str, object]
) -> None:
    path = write(**cards)
    assert observation_time(path) is None
    assert night_of_file(path, 0.0) == date(2020, 2, 20)
    assert night_of_file(path, HAWAII) == date(2020, 2, 19)


@pytest.mark.parametrize("time", ["25:00:00", "05:60:07", "05:06:61", "05:06", "5.1"])
def test_a_time_that_does_not_exist_is_no_time(write: Callable[..., Path], time: str) -> None:
    assert observation_time(write(DATE_OBS="2019-03-04", UT=time)) is None


@pytest.mark.parametrize("longitude_deg", [CHILE, 0.0, AUSTRALIA])
def test_a_date_without_a_time_is_the_date_of_the_evening(
    write: Callable[..., Path], longitude_deg: float
) -> None:
    path = write(DATE_OBS="2019-03-04")
    assert observation_time(path) is None
    assert night_of_file(path, longitude_deg) == date(2019, 3, 4)


def test_the_header_decides_before_the_time_of_the_last_change(write: Callable[..., Path]) -> None:
    assert night_of_file(write(DATE_OBS="2019-03-04T05:06:07"), CHILE) == date(2019, 3, 3)


def test_the_first_extension_that_has_a_date_is_taken(write: Callable[..., Path]) -> None:
    path = write(extension={"DATE_OBS": "2019-03-04T05:06:07"})
    assert observation_time(path) == datetime(2019, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_the_primary_header_comes_first(write: Callable[..., Path]) -> None:
    path = write(DATE_OBS="2018-03-04T05:06:07", extension={"DATE_OBS": "2019-03-04T05:06:07"})
    assert observation_time(path) == datetime(2018, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_a_moment_in_an_extension_is_better_than_a_bare_date(write: Callable[..., Path]) -> None:
    path = write(DATE_OBS="2019-03-04", extension={"DATE_OBS": "2019-03-04T05:06:07"})
    assert observation_time(path) == datetime(2019, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_a_gzipped_exposure_and_one_that_breaks_off_have_their_time(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    content = write(
        DATE_OBS="2018-03-04", extension={"DATE_OBS": "2019-03-04T05:06:07"}
    ).read_bytes()
    zipped, cut, cut_zipped = (tmp_path / name for name in ("a.fits.gz", "cut.fits", "cut.gz"))
    zipped.write_bytes(gzip.compress(content))
    cut.write_bytes(content[:2000])
    cut_zipped.write_bytes(gzip.compress(content)[:-9])
    assert observation_time(zipped) == datetime(2019, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert night_of_file(cut, 0.0) == date(2018, 3, 4)
    assert night_of_file(cut_zipped, 0.0).year in {2018, 2019}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"S",
        b"\x1f\x8b",
        b"\x1f\x8bnonsense",
        b"\x00" * 5760,
        b"DATE-OBS= '2019-03-04T05:06:07'",
        b"SIMPLE  =                    T" + b" " * 6000,
        b"SIMPLE  =                    T".ljust(80)
        + b"BITPIX  =                    8".ljust(80)
        + b"NAXIS   =                   -1".ljust(80)
        + b"END".ljust(2640),
        b"SIMPLE  =                    T".ljust(80)
        + b"BITPIX  =                   64".ljust(80)
        + b"NAXIS   =                    1".ljust(80)
        + b"NAXIS1  = 99999999999999999999".ljust(80)
        + b"END".ljust(2560),
    ],
)
def test_garbage_has_no_time_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    os.utime(path, (MTIME.timestamp(), MTIME.timestamp()))
    assert observation_time(path) is None
    assert night_of_file(path, 0.0) == date(2020, 2, 20)


def test_a_file_that_is_gone_belongs_to_the_present_night(tmp_path: Path) -> None:
    before = night_of(datetime.now(UTC), CHILE)
    assert night_of_file(tmp_path / "gone.fits", CHILE) in {
        before,
        night_of(datetime.now(UTC), CHILE),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("amateur_m34_16bit.fit", "2012-11-14T19:55:06.207+00:00"),
        ("decam_desx_149774_40.fits.fz", "2012-11-11T04:52:17.280955+00:00"),
        ("hsc_trail_400.fits", "2020-05-28T14:32:17.953+00:00"),
        ("keck_nirc2_hd1160_raw.fits", "2017-07-25T14:17:50.750+00:00"),
        ("microobs_orion_1.fits", "2016-01-15T05:27:49.328+00:00"),
        ("nickel_series/d1074.fits", "2024-05-13T06:25:35.950+00:00"),
        ("saao_ste3_a8280271.fits", "2013-07-13T00:57:33+00:00"),
        ("vatt4k_trails_400.fits", "2021-12-12T12:51:21.366+00:00"),
        ("ystar_saao_streak.fits", "2002-07-26T19:36:37+00:00"),
    ],
)
def test_real_exposures_have_the_time_of_their_observatory(
    real: Callable[[str], Path], name: str, expected: str
) -> None:
    assert observation_time(real(name)) == datetime.fromisoformat(expected)


def test_a_real_exposure_that_has_only_a_date_has_its_night(real: Callable[[str], Path]) -> None:
    path = real("sdss_004192/fpC-004192-r4-0300.fit.gz")
    assert night_of_file(path, -105.8) == date(2003, 10, 19)
