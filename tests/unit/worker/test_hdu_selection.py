"""Which HDUs are exposures, and what becomes of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from worker.exposure import Exposure, HduAction
from worker.selection import HduSelection

M, C, D = HduAction.MASK, HduAction.COPY, HduAction.DROP


@pytest.fixture
def science(tmp_path: Path) -> Path:
    """Write a file with an empty primary, SCI, MASK, WEIGHT and a table."""
    data = np.random.default_rng(1).normal(9, 1, (30, 40)).astype(np.float32)
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(data, name=n) for n in ("SCI", "MASK", "WEIGHT"))]
    hdus[1].header["IMAGETYP"] = "Object"
    hdus[3].header["ISDATA"] = False
    table = fits.BinTableHDU.from_columns([fits.Column("A", "I", array=[1])], name="CAT")
    fits.HDUList([*hdus, table]).writeto(tmp_path / "a.fits")
    return tmp_path / "a.fits"


@pytest.mark.parametrize(
    ("selectors", "actions"),
    [
        ((), [C, M, M, M, C]),
        (("1",), [C, M, C, C, C]),
        (("sci*",), [C, M, C, C, C]),
        (("SCI", "WEIGHT"), [C, M, C, M, C]),
        (("IMAGETYP=object",), [C, M, C, C, C]),
        (("ISDATA=F",), [C, C, C, M, C]),
        (("CAT",), [C, C, C, C, C]),
    ],
)
def test_a_number_a_name_or_a_card_selects(
    selectors: tuple[str, ...], actions: list[HduAction], science: Path
) -> None:
    with Exposure(science, selection=HduSelection(selectors)) as exposure:
        assert [plan.action for plan in exposure.plans] == actions


def test_others_can_be_left_out_but_for_the_primary(science: Path) -> None:
    selection = HduSelection(("SCI",), copies_others=False)
    with Exposure(science, selection=selection) as exposure:
        assert [plan.action for plan in exposure.plans] == [C, M, D, D, D]


def test_an_hdu_named_in_the_path_needs_no_selection(science: Path) -> None:
    with Exposure(science, hdu=2, selection=HduSelection(("SCI",))) as exposure:
        assert [plan.index for plan in exposure.plans] == [2]
