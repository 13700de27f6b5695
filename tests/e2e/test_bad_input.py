"""Bad input: each file gets a state and one sentence, and the night goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from worker.status import State

Make = Callable[[Path], None]


def sky(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(9).normal(700, 20, shape).astype(np.float32)


def image(data: np.ndarray | None) -> Make:
    return lambda path: fits.PrimaryHDU(data).writeto(path)


def text(content: str) -> Make:
    return lambda path: path.write_text(content) and None


def truncated(path: Path) -> None:
    fits.PrimaryHDU(sky((60, 60))).writeto(path)
    path.write_bytes(path.read_bytes()[:9000])


def only_a_table(path: Path) -> None:
    fits.BinTableHDU.from_columns([fits.Column("A", "3A", array=["abc"])]).writeto(path)


def scaled(path: Path) -> None:
    hdu = fits.PrimaryHDU(sky((50, 60)).astype(np.int16))
    hdu.scale("int16", bzero=500)
    hdu.writeto(path)


#: Name, how it is made, its state, a part of its reason.
KINDS: list[tuple[str, Make, State, str]] = [
    ("not fits.fits", text("hello"), State.FAILED, "is not FITS"),
    ("truncated.fits", truncated, State.INCOMPLETE, "truncated: HDU 0 has"),
    ("empty.fits", Path.touch, State.INCOMPLETE, "is empty"),
    ("table.fits", only_a_table, State.SKIPPED, "no HDU with a two-dimensional image"),
    ("header.fits", image(None), State.INCOMPLETE, "has 0 of the 1 extensions"),
    ("zero.fits", image(np.zeros((50, 50), np.int16)), State.SKIPPED, "all pixels are 0"),
    ("nan.fits", image(np.full((50, 50), np.nan)), State.SKIPPED, "no pixel is a number"),
    ("constant.fits", image(np.full((50, 50), 7.0)), State.SKIPPED, "all pixels are 7"),
    ("line.fits", image(sky((1, 900))), State.SKIPPED, "900 x 1 pixels is too small"),
    ("scaled.fits", scaled, State.DONE, ""),
    ("uint16.fits", image(sky((50, 60)).astype(np.uint16)), State.DONE, ""),
    ("float64 big endian.fits", image(sky((50, 60)).astype(">f8")), State.DONE, ""),
    ("cube.fits", image(sky((3, 50, 60))), State.DONE, ""),
    ("brackets [1].fits", image(sky((50, 60))), State.DONE, ""),
    ("nuit d'été ☆.FIT", image(sky((50, 60))), State.DONE, ""),
    ("surrogate \udcff.fits", image(sky((50, 60))), State.DONE, ""),
]


def test_every_kind_of_file_has_its_state_and_reason(night: Any) -> None:
    for name, make, _, _ in KINDS:
        make(night.incoming / name)
    for name, _, state, reason in KINDS:
        (record,) = night.ended(name, state=state)
        assert reason in record.reason, name
        assert "\n" not in record.reason
        assert "Traceback" not in record.reason
        if state in {State.FAILED, State.SKIPPED}:
            assert record.error
            assert record.error_kind == "permanent"
        if state is State.DONE:
            assert record.mask.exists()
        else:
            assert record.mask is None
    shown = night.run("status").stdout
    assert "Traceback" not in shown
    assert "is not FITS" in shown


def test_a_directory_named_like_an_exposure_is_told(night: Any) -> None:
    (night.incoming / "directory.fits").mkdir()
    (record,) = night.ended("directory.fits", state=State.SKIPPED)
    assert "is a directory" in record.reason


def test_an_incomplete_file_that_is_completed_is_masked(night: Any) -> None:
    path = night.incoming / "slow.fits"
    content_of = night.incoming / "slow.part"
    fits.PrimaryHDU(sky((60, 60))).writeto(content_of)
    content = content_of.read_bytes()
    content_of.unlink()
    path.write_bytes(content[:5000])
    night.ended("slow.fits", state=State.INCOMPLETE)
    path.write_bytes(content)
    (record,) = night.ended("slow.fits", state=State.DONE)
    assert record.attempts == 1


def test_two_exposures_with_one_mask_name_do_not_overwrite_each_other(night: Any) -> None:
    image(sky((40, 40)))(night.incoming / "twin.fits")
    (first,) = night.ended("twin.fits", state=State.DONE)
    image(sky((40, 40)))(night.incoming / "twin.fit")
    (second,) = night.ended("twin.fit", state=State.FAILED)
    assert "rename one of the two" in second.reason
    assert fits.getval(first.mask, "MMSOURCE") == "twin.fits"


@pytest.mark.parametrize("name", [".hidden.fits", "a.fits.part", "a.masks.fits", "a.masks2.fits"])
def test_temporary_names_and_our_own_products_are_left_alone(night: Any, name: str) -> None:
    image(sky((40, 40)))(night.incoming / "other.fit")
    (night.incoming / "other.fit").rename(night.incoming / name)
    marker = f"after {name.replace('.', '-')}.fits"
    image(sky((40, 40)))(night.incoming / marker)
    night.ended(marker, state=State.DONE)
    assert night.record(name) is None


def test_a_malformed_class_file_fails_its_exposures_and_mending_it_masks_them(
    night: Any,
) -> None:
    folder = night.incoming / "classes"
    folder.mkdir()
    flags = folder / "classes.flags"
    names = [
        "CR",
        "HCL",
        "DCL",
        "HP",
        "DP",
        "P",
        "TRL",
        "FR",
        "NEB",
        "SAT",
        "SP",
        "OV",
        "BBG",
        "BG",
    ]
    flags.write_text("".join(f"{name} 1\n" for name in names[1:]))
    fits.PrimaryHDU(sky((50, 60))).writeto(folder / "one.fits")
    (failed,) = night.ended("classes/one.fits", state=State.FAILED)
    assert failed.reason == (
        f"{flags} has no line for CR: give each of the 14 classes ({' '.join(names)}) one."
    )
    assert sorted(path.name for path in folder.iterdir()) == ["classes.flags", "one.fits"]
    flags.write_text("".join(f"{name} {int(name in ('CR', 'SAT'))}\n" for name in names))
    (done,) = night.ended("classes/one.fits", state=State.DONE)
    assert done.class_files == {"classes.flags": str(flags)}
    header = fits.getheader(done.mask)
    assert (header["NAXIS3"], header["MMCLS1"], header["MMCLS2"]) == (2, "CR", "SAT")
    assert header["MMFLAGSF"] == str(flags)
    # A class file that changes is followed, by the exposures that are done too.
    flags.write_text("".join(f"{name} {int(name == 'HP')}\n" for name in names))
    night.wait_for(lambda: fits.getval(done.mask, "MMCLS1") == "HP")
