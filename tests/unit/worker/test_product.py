"""Mask files: names, headers, publication."""

from __future__ import annotations

import errno
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from model.preset import read_card
from model.probability import Recipe, make_recipe
from settings.schema import MaskSettings
from worker.header import Provenance
from worker.product import (
    STALE_S,
    Compression,
    MaskFile,
    MaskFileError,
    MaskFileUnwritableError,
    foreign_source,
    mask_path,
    read_key,
    remove_stale,
)

CARD = read_card("maximask-1.4")
RECIPE = make_recipe(CARD, MaskSettings())
MASKS = np.zeros((14, 60, 40), np.uint8)
MASKS[0, 5, 7] = 1


def provenance(source: str = "mosaic.fits") -> Provenance:
    return Provenance(
        key="k" * 32,
        configuration="c" * 16,
        preset=CARD.name,
        preset_sha256=CARD.sha256,
        source=source,
        source_sha256="5" * 64,
        device="cpu",
        engine="tensorflow 2.21.0",
        tiles="wide",
        attempt=2,
        versions={"maximaskd": "0.1.0", "numpy": np.__version__},
    )


def write(target: Path, mosaic: Path, *, recipe: Recipe = RECIPE) -> None:
    with (
        fits.open(mosaic) as source,
        MaskFile(target, provenance=provenance(), recipe=recipe) as mask_file,
    ):
        mask_file.append_header(source[0].header)
        mask_file.append_masks(MASKS, source[1].header, hdu=1, note="HDU 1: ü is odd")
        mask_file.publish()


@pytest.mark.parametrize(
    ("exposure", "expected"),
    [
        ("a.fits", "a.masks.fits"),
        ("a.FIT", "a.masks.fits"),
        ("a.fts", "a.masks.fits"),
        ("a.fits.fz", "a.masks.fits"),
        ("a.fits.gz", "a.masks.fits"),
        ("a.b c[2].fits", "a.b c[2].masks.fits"),
        ("a.fits.fits", "a.fits.masks.fits"),
    ],
)
def test_masks_stand_beside_the_exposure(exposure: str, expected: str) -> None:
    assert mask_path(Path("/d") / exposure) == Path("/d") / expected
    one = expected.replace(".masks.", ".masks3.")
    assert mask_path(Path("/d") / exposure, hdu=3) == Path("/d") / one


def test_an_output_root_mirrors_the_watched_roots() -> None:
    root, out = Path("/data/cam1"), Path("/masks")
    inside = mask_path(root / "n1" / "a.fits", root=root, output_root=out)
    assert inside == out / "cam1" / "n1" / "a.masks.fits"
    assert mask_path(Path("/else/a.fits"), root=root, output_root=out) == out / "a.masks.fits"


def test_a_mask_file_is_valid_fits_with_checksums(mosaic: Path, tmp_path: Path) -> None:
    target = tmp_path / "mosaic.masks.fits"
    write(target, mosaic)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(target, checksum=True) as masks:
            masks.verify("exception")
            assert len(masks) == 2
            for hdu in masks:
                assert "CHECKSUM" in hdu.header
                assert "DATASUM" in hdu.header
            np.testing.assert_array_equal(masks[1].data, MASKS)


def test_names_and_wcs_are_those_of_the_exposure(mosaic: Path, tmp_path: Path) -> None:
    target = tmp_path / "mosaic.masks.fits"
    write(target, mosaic)
    source, masks = fits.getheader(mosaic, 1), fits.getheader(target, 1)
    assert masks["EXTNAME"] == "CCD1"
    pixels = [[1, 1], [40, 60]]
    np.testing.assert_allclose(
        WCS(masks, naxis=2).wcs_pix2world(pixels, 1), WCS(source).wcs_pix2world(pixels, 1), atol=0
    )


def test_the_header_says_what_was_done(mosaic: Path, tmp_path: Path) -> None:
    target = tmp_path / "mosaic.masks.fits"
    write(target, mosaic)
    for hdu in (0, 1):
        header = fits.getheader(target, hdu)
        assert header["MMKEY"] == "k" * 32
        assert header["MMCONF"] == "c" * 16
        assert (header["MMPRESET"], header["MMPRESHA"]) == (CARD.name, CARD.sha256)
        assert (header["MMSOURCE"], header["MMSRCSHA"]) == ("mosaic.fits", "5" * 64)
        assert header["MMTRY"] == 2
        assert header["MMVNUMPY"] == np.__version__
        assert header["MMDATE"].startswith("20")
    assert header["MMHDU"] == 1
    assert header["MMFORMAT"] == "masks"
    assert header["MMPRIOR"] is True
    for number, mask_class in enumerate(CARD.classes, start=1):
        assert header[f"MMCLS{number}"] == mask_class.name
        assert header.comments[f"MMCLS{number}"] == mask_class.full_name
        assert header[f"MMPRI{number}"] == mask_class.prior
        assert header[f"MMTHR{number}"] == mask_class.threshold
    assert header["MMNOTE"] == "HDU 1: \\xfc is odd"


@pytest.mark.parametrize("compress", Compression)
@pytest.mark.parametrize(
    ("vocabulary", "names"),
    [
        ("preset", "CR HCL DCL HP DP P TRL FR NEB SAT SP OV BBG"),
        ("2018", "CR HC BC BL HP BP P STL FR NEB SAT SP BBG"),
    ],
)
def test_every_hdu_with_a_bit_mask_names_its_bits(
    vocabulary: str, names: str, compress: Compression, tmp_path: Path
) -> None:
    recipe = make_recipe(CARD, MaskSettings(format="bitmask", vocabulary=vocabulary))
    target = tmp_path / "a.masks.fits"
    older = fits.Header({"MP_OLD": 3, "EXTNAME": "CCD"})
    with MaskFile(target, provenance=provenance(), recipe=recipe, compress=compress) as mask_file:
        for hdu in range(3):
            mask_file.append_masks(np.ones((9, 9), np.int16), older, hdu=hdu)
        mask_file.publish()
    expected = {f"MP_{name}": bit for bit, name in enumerate(names.split())}
    with fits.open(target) as masks:
        found = [dict(hdu.header["MP_*"]) for hdu in masks if hdu.data is not None]
    assert found == [expected] * 3


def test_probabilities_state_the_thresholds_that_they_were_not_cut_at(tmp_path: Path) -> None:
    wishes = MaskSettings(format="probabilities", prior_modif=False, classes=("CR",))
    target = tmp_path / "a.masks.fits"
    recipe = make_recipe(CARD, wishes)
    with MaskFile(target, provenance=provenance(), recipe=recipe) as mask_file:
        mask_file.append_masks(np.ones((1, 9, 9), np.float32), fits.Header())
        mask_file.publish()
    header = fits.getheader(target)
    assert header["MMPRIOR"] is False
    assert header["MMCLS1"] == "CR"
    assert header["MMTHR1"] == CARD.classes[0].threshold
    assert "MMPRI1" not in header


@pytest.mark.parametrize("n_cards", range(36))
def test_a_note_on_tracking_finds_room_in_any_header(n_cards: int, tmp_path: Path) -> None:
    source = fits.Header({f"CARD{number}": number for number in range(n_cards)})
    target = tmp_path / "a.masks.fits"
    with MaskFile(target, provenance=provenance(), recipe=RECIPE) as mask_file:
        mask_file.append_masks(MASKS, source)
        mask_file.append_masks(MASKS[:, ::-1], source)
        mask_file.note_track(0.25)
        mask_file.publish()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(target, checksum=True) as masks:
            masks.verify("exception")
            assert masks[0].header["MMTRACK"] == 0.25
            np.testing.assert_array_equal(masks[0].data, MASKS)
            np.testing.assert_array_equal(masks[1].data, MASKS[:, ::-1])


def test_cards_of_the_exposures_own_array_are_left_out(tmp_path: Path) -> None:
    source = fits.Header()
    source["BZERO"] = 32768
    source["BUNIT"] = "adu"
    source["FILTER"] = "r"
    source["WCSAXES"] = 3
    source["CTYPE1"] = "RA---TAN"
    source["CTYPE3"] = "FREQ"
    source["CD3_3"] = 2.0
    source["CD1_2"] = 0.5
    source["MMKEY"] = "an older one"
    source["HISTORY"] = "long ago"
    target = tmp_path / "a.masks.fits"
    with MaskFile(target, provenance=provenance(), recipe=RECIPE) as mask_file:
        mask_file.append_masks(MASKS, source)
        mask_file.publish()
    header = fits.getheader(target)
    for keyword in ("BZERO", "BUNIT", "CTYPE3", "CD3_3", "HISTORY"):
        assert keyword not in header
    assert (header["FILTER"], header["CTYPE1"], header["CD1_2"]) == ("r", "RA---TAN", 0.5)
    assert header["WCSAXES"] == 2
    assert header["MMKEY"] == "k" * 32


def test_nothing_is_left_of_a_file_that_is_not_published(mosaic: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "a.masks.fits"
    with MaskFile(target, provenance=provenance(), recipe=RECIPE) as mask_file:
        mask_file.append_masks(MASKS, fits.getheader(mosaic, 1))
        (hidden,) = target.parent.iterdir()
        assert hidden.name.startswith(".a.masks.fits.")
    assert list(target.parent.iterdir()) == []


def test_a_published_file_replaces_the_one_before(mosaic: Path, tmp_path: Path) -> None:
    target = tmp_path / "mosaic.masks.fits"
    target.write_text("an older one")
    write(target, mosaic)
    assert read_key(target) == "k" * 32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mosaic.fits", "mosaic.masks.fits"]


def test_the_key_is_known_only_of_our_files(mosaic: Path, tmp_path: Path) -> None:
    assert read_key(mosaic) is None
    assert read_key(tmp_path / "nothing.fits") is None
    (tmp_path / "junk.fits").write_text("junk")
    assert read_key(tmp_path / "junk.fits") is None


def test_two_exposures_with_one_mask_name_are_told_apart(mosaic: Path, tmp_path: Path) -> None:
    target = tmp_path / "mosaic.masks.fits"
    write(target, mosaic)
    assert foreign_source(target, mosaic) is None
    packed = tmp_path / "mosaic.fits.fz"
    assert foreign_source(target, packed) == "mosaic.fits"
    mosaic.unlink()
    assert foreign_source(target, packed) is None


def test_what_killed_attempts_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, new, other = (
        tmp_path / name
        for name in (
            ".a.masks.fits.1-0123abcd.tmp",
            ".a.masks3.fits.fz.2-0123abcd.tmp",
            ".a.masks.fits.swap.tmp",
        )
    )
    for path in (old, new, other):
        path.touch()
    before = time.time() - STALE_S - 10
    for path in (old, other):
        os.utime(path, (before, before))
    remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, other])


def test_a_mask_file_that_is_being_written_has_a_name_by_which_its_remains_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.masks.fits"
    with MaskFile(target, provenance=provenance(), recipe=RECIPE):
        monkeypatch.setattr("worker.product.STALE_S", -1.0)
        remove_stale(tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error", "sentence"),
    [
        (errno.EROFS, MaskFileUnwritableError, "root.output_root"),
        (errno.EACCES, MaskFileUnwritableError, "write permission"),
        (errno.ENOSPC, MaskFileError, "tried again later"),
        (errno.EDQUOT, MaskFileError, "tried again later"),
        (errno.ESTALE, MaskFileError, "tried again later"),
    ],
)
def test_a_failing_file_system_is_told_with_what_to_do(
    number: int,
    error: type[Exception],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "touch", fail)
    with (
        pytest.raises(error, match=sentence),
        MaskFile(tmp_path / "a.masks.fits", provenance=provenance(), recipe=RECIPE),
    ):
        pass


def test_long_keywords_are_kept_without_a_warning(tmp_path: Path) -> None:
    card = "HIERARCH ESO DET OUT1 GAIN = 1.25 / [e/ADU]"
    source = fits.Header.fromstring(card.ljust(80))
    target = tmp_path / "a.masks.fits"
    with MaskFile(target, provenance=provenance(), recipe=RECIPE) as mask_file:
        mask_file.append_masks(MASKS, source)
        mask_file.publish()
    assert fits.getheader(target)["ESO DET OUT1 GAIN"] == 1.25


def test_alternative_coordinates_of_other_axes_are_left_out(tmp_path: Path) -> None:
    source = fits.Header()
    for alternative in ("", "A"):
        source[f"WCSAXES{alternative}"] = 3
        for axis, kind in enumerate(("RA---TAN", "DEC--TAN", "FREQ"), start=1):
            source[f"CTYPE{axis}{alternative}"] = kind
            source[f"CD{axis}_{axis}{alternative}"] = 1e-3
    target = tmp_path / "a.masks.fits"
    with MaskFile(target, provenance=provenance(), recipe=RECIPE) as mask_file:
        mask_file.append_masks(MASKS, source)
        mask_file.publish()
    header = fits.getheader(target)
    assert (header["WCSAXES"], header["WCSAXESA"]) == (2, 2)
    assert (header["CTYPE2A"], header["CD2_2A"]) == ("DEC--TAN", 1e-3)
    assert "CTYPE3A" not in header
    assert "CD3_3A" not in header


@pytest.mark.parametrize("stem", ["été ☆", "b\udcff", "two\nlines", "tab\t", "back\\slash"])
def test_odd_names_that_clash_are_told_apart_too(stem: str, tmp_path: Path) -> None:
    exposure, packed = tmp_path / f"{stem}.fits", tmp_path / f"{stem}.fits.fz"
    exposure.touch()
    target = mask_path(exposure)
    assert target == mask_path(packed)
    made = provenance(source=exposure.name)
    with MaskFile(target, provenance=made, recipe=RECIPE) as mask_file:
        mask_file.append_masks(MASKS, fits.Header())
        mask_file.publish()
    assert read_key(target) == "k" * 32
    assert foreign_source(target, exposure) is None
    assert foreign_source(target, packed) is not None


def test_a_mask_file_of_unknown_making_is_nobodys(tmp_path: Path) -> None:
    target = tmp_path / "a.masks.fits"
    for source in ("", "/", "\\x"):
        fits.PrimaryHDU(header=fits.Header({"MMSOURCE": source})).writeto(target, overwrite=True)
        assert foreign_source(target, tmp_path / "a.fits") is None


@pytest.mark.parametrize("track", [None, 0.25])
@pytest.mark.parametrize(
    ("primary", "is_masked"),
    [(None, False), (np.arange(12, dtype=np.int16).reshape(3, 4), False), (None, True)],
)
def test_the_sums_of_every_hdu_are_those_that_astropy_finds(
    primary: np.ndarray | None, is_masked: bool, track: float | None, tmp_path: Path
) -> None:
    target = tmp_path / "mosaic.masks.fits"
    with MaskFile(target, provenance=provenance(), recipe=RECIPE) as mask_file:
        if is_masked:
            mask_file.append_masks(MASKS, fits.Header(), hdu=0)
        else:
            mask_file.append_header(fits.Header(), primary)
        mask_file.append_masks(MASKS, fits.Header(), hdu=1)
        if track is not None:
            mask_file.note_track(track)
        mask_file.publish()
    with fits.open(target) as file:
        assert file[0].header.get("MMTRACK") == track
        assert file[0].header["EXTEND"] is True
        for hdu in file:
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1
        np.testing.assert_array_equal(file[1].data, MASKS)
        if is_masked:
            np.testing.assert_array_equal(file[0].data, MASKS)
        elif primary is not None:
            np.testing.assert_array_equal(file[0].data, primary)
