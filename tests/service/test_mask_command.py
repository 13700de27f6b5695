"""`maximaskd mask`: each option of the two manuals, against the published tool where it has it."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result
from maximask_and_maxitrack.maximask.maximask import MaxiMask_inference
from maximask_and_maxitrack.maxitrack.maxitrack import MaxiTrack_inference
from maximask_and_maxitrack.utils import read_config_file

from model.card import Preprocessing
from model.normalise import normalise_plane
from model.preset import read_card
from model.releases import RELEASE_2018
from model.vocabulary import CLASSES_2018
from settings.sources import load
from watcher.cli import main
from watcher.mask_command import mask

CARD = read_card("maximask-1.4")
NAMES = [mask_class.name for mask_class in CARD.classes]
PRIORS = np.array([mask_class.prior for mask_class in CARD.classes], np.float32)
THRESHOLDS = np.array([mask_class.threshold for mask_class in CARD.classes], np.float32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Put the log back as it was: the command runs in this process and configures it."""
    loggers = [logging.getLogger(name) for name in ("", "maximaskd")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers = handlers


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    """Return a plane with cosmic rays, a dead column and a line."""
    rng = np.random.default_rng(3)
    plane = rng.normal(400, 9, (430, 450)).astype(np.float32)
    for y, x in rng.integers(5, 420, (60, 2)):
        plane[y : y + 2, x : x + 2] += 1500
    plane[:, 200] = 0
    plane[300, :] = 0
    return plane


def write(path: Path, *planes: np.ndarray) -> Path:
    first, *rest = planes
    fits.HDUList([fits.PrimaryHDU(first), *map(fits.ImageHDU, rest)]).writeto(path)
    return path


def run(*words: object, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["mask", "cpu", *map(str, words)])
    assert result.exit_code == status, result.output
    return result


def published(path: str, **options: object) -> None:
    """Run the published tool on a path."""
    package = Path(sys.modules[MaxiMask_inference.__module__].__file__).parent
    defaults = {
        "class_flags": np.ones(14, bool),
        "priors": PRIORS,
        "thresholds": THRESHOLDS,
        "sing_mask": False,
        "batch_size": 8,
    }
    MaxiMask_inference(path, str(package / "model"), **defaults | options).process_all()


def agree(ours: Path, theirs: Path, hdu: int = 0) -> None:
    first, second = fits.getdata(ours, hdu), fits.getdata(theirs, hdu)
    assert (first.shape, first.dtype.kind) == (second.shape, second.dtype.kind)
    if first.dtype.kind == "f":
        # Where two values tie but for rounding, another pixel may win a pooling.
        assert (np.abs(first - second) < 1e-3).mean() > 0.999
    else:
        assert (first == second).mean() > 0.9999


#: The option lists of the manuals: MaxiMask 2018, MaxiMask 1.4.1, MaxiTrack 1.4.1, with defaults.
OF_THE_MANUALS = {
    "--net_path": "maximask-1.4",
    "--net_dir": "maximask-1.4",
    "--config_dir": None,
    "--prior_modif": "True",
    "--proba_thresh": "True",
    "--single_mask": "False",
    "--batch_size": "8",
    "--prior": "0.05",
    "--frac": "1",
    "-v": None,
    "--verbose": None,
}


def test_every_option_of_the_manuals_is_there_with_its_default() -> None:
    options = {word: one for one in mask.params for word in one.opts if word.startswith("-")}
    assert set(OF_THE_MANUALS) <= set(options)
    for word, default in OF_THE_MANUALS.items():
        if default is not None:
            assert f"[default: {default}]" in options[word].help
    device, path = (one for one in mask.params if not one.opts[0].startswith("-"))
    assert (list(device.type.choices), path.name) == (["cpu", "gpu"], "im_path")
    for word in ("-h", "--help"):
        assert "Usage: main mask [OPTIONS] {cpu|gpu} IM_PATH..." in run(word).stdout


@pytest.mark.parametrize("tool", [MaxiMask_inference, MaxiTrack_inference])
def test_every_option_that_the_published_tools_list_is_there(
    tool: type, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["published", "--help"])
    with pytest.raises(SystemExit):
        sys.modules[tool.__module__].main()
    listed = set(re.findall(r"(?<!\S)--?\w+", capsys.readouterr().out))
    assert len(listed) >= 8
    ours = {word for one in mask.params for word in one.opts}
    assert listed <= ours | {"-h", "--help"}


def test_the_defaults_are_those_of_the_manuals() -> None:
    settings = load()
    assert settings.worker.batch_size == 8
    assert settings.mask.preset == "maximask-1.4"
    assert (settings.mask.prior_modif, settings.mask.format) == (True, "masks")
    assert (settings.mask.track_prior, settings.mask.track_frac) == (0.05, 1)
    assert settings.mask.config_dir is None


def test_a_gpu_that_is_not_there_is_said_and_nothing_is_masked(
    home: Path, sky: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: [])
    write(home / "a.fits", sky[:60, :70])
    result = CliRunner().invoke(main, ["mask", "gpu", "a.fits"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No GPU is visible to this process" in result.stderr
    assert [path.name for path in home.iterdir()] == ["a.fits"]


def test_a_file_as_the_published_tool_masks_it(home: Path, sky: np.ndarray) -> None:
    write(home / "a.fits", sky)
    result = run("--tiles", "reference", "a.fits")
    assert result.stdout == f"{home / 'a.fits'} -> {home / 'a.masks.fits'}\n"
    header = fits.getheader("a.masks.fits")
    assert [header[name] for name in ("MMTILES", "MMHDUS", "MMOTHERS")] == [
        "reference",
        "all",
        "copy",
    ]
    published("a.fits")
    agree(home / "a.masks.fits", home / "a.mask.fits")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("--prior_modif", "False"), {"priors": None}),
        (("--proba_thresh", "no"), {"thresholds": None}),
        (("--prior_modif", "0", "--proba_thresh", "F"), {"priors": None, "thresholds": None}),
        (("--single_mask", "True"), {"sing_mask": True}),
        (("--format", "bitmask"), {"sing_mask": True}),
        (("--batch_size", "2"), {"batch_size": 2}),
    ],
)
def test_each_option_does_what_the_published_tool_does(
    words: tuple[str, ...], options: dict[str, object], home: Path, sky: np.ndarray
) -> None:
    write(home / "a.fits", sky)
    run("--tiles", "reference", *words, "a.fits")
    published("a.fits", **options)
    agree(home / "a.masks.fits", home / "a.mask.fits")


def test_class_files_of_config_dir_as_the_published_tool_reads_them(
    home: Path, sky: np.ndarray
) -> None:
    write(home / "a.fits", sky)
    folder = home / "etc"
    folder.mkdir()
    flags = np.array([name in {"CR", "DCL"} for name in NAMES])
    thresholds = np.where(flags, 0.2, 0.9).astype(np.float32)
    for kind, values in (("flags", flags.astype(int)), ("priors", PRIORS), ("thresh", thresholds)):
        rows = zip(NAMES, values.tolist(), strict=True)
        (folder / f"classes.{kind}").write_text("".join(f"{n} {v:.7g}\n" for n, v in rows))
    run("--tiles", "reference", "--config_dir", folder, "a.fits")

    def read(kind: str, **options: bool) -> np.ndarray:
        return read_config_file(str(folder / f"classes.{kind}"), 14, logging, **options)

    published(
        "a.fits",
        class_flags=read("flags"),
        priors=read("priors", to_float=True),
        thresholds=read("thresh", to_float=True),
    )
    agree(home / "a.masks.fits", home / "a.mask.fits")
    header = fits.getheader(home / "a.masks.fits")
    assert (header["MMCLS1"], header["MMCLS2"], header["NAXIS3"]) == ("CR", "DCL", 2)
    for card, kind in (("MMFLAGSF", "flags"), ("MMPRIORF", "priors"), ("MMTHRESF", "thresh")):
        assert header[card] == str(folder / f"classes.{kind}")


def test_cubes_lists_single_hdus_and_compressed_files(home: Path, sky: np.ndarray) -> None:
    write(home / "cube.fits", np.stack([sky, sky[::-1]]))
    write(home / "channel.fits", sky[::-1])
    write(home / "two.fits", sky, sky[:, ::-1])
    fits.writeto(home / "zipped.fits.gz", sky)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(sky)]).writeto(home / "packed.fits.fz")
    (home / "all.list").write_text("cube.fits\ntwo.fits[1]\n\nzipped.fits.gz\npacked.fits.fz\n")
    result = run("--tiles", "reference", "all.list")
    # The published tool takes a cube's axes in reverse and passes it over: channel by channel then.
    published("channel.fits")
    cube = fits.getdata(home / "cube.masks.fits")
    assert cube.shape == (2, 14, 430, 450)
    assert (cube[1] == fits.getdata(home / "channel.mask.fits")).mean() > 0.9999
    published("all.list")
    for name, theirs, hdu in (
        ("two.masks1", "two.mask1", 0),
        ("zipped.masks", "zipped.mask", 0),
        ("packed.masks", "packed.mask", 1),
    ):
        agree(home / f"{name}.fits", home / f"{theirs}.fits", hdu)
    assert len(result.stdout.splitlines()) == 4


def test_a_directory_means_its_exposures_and_not_the_masks(home: Path, sky: np.ndarray) -> None:
    for name in ("b.fits", "a.fit", "c.mask.fits", "c.masks.fits"):
        write(home / name, sky[:60, :70])
    (home / "below").mkdir()
    write(home / "below" / "d.fits", sky[:60, :70])
    result = run(home)
    assert [line.split(" -> ")[0] for line in result.stdout.splitlines()] == [
        str(home / "a.fit"),
        str(home / "b.fits"),
    ]


def test_a_bad_file_does_not_stop_the_others(home: Path, sky: np.ndarray) -> None:
    (home / "bad.fits").write_text("hello")
    write(home / "blank.fits", np.zeros((50, 50), np.float32))
    write(home / "good.fits", sky[:60, :70])
    result = run("bad.fits", "nowhere.fits", "blank.fits", "good.fits", status=1)
    assert "bad.fits is not FITS" in result.stderr
    assert "nowhere.fits does not exist: name a file" in result.stderr
    assert "skipped: " in result.stderr
    assert "1 masked (0.0 Mpix), 1 skipped, 2 failed" in result.stderr
    assert result.stdout.startswith(str(home / "good.fits"))
    assert "Traceback" not in result.output


def test_verbose_says_the_rate_of_each_hdu_and_a_pipe_shows_no_bars(
    home: Path, sky: np.ndarray
) -> None:
    write(home / "a.fits", sky[:60, :70], sky[:50, :70])
    result = subprocess.run(
        [sys.executable, "-m", "watcher.cli", "mask", "cpu", "-v", "a.fits"],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        timeout=200,
        # What makes a pipe colourful makes it no terminal.
        env=os.environ | {"FORCE_COLOR": "1"},
    )
    written = re.sub(r"\x1b\[[\d;]*m", "", result.stdout)
    assert written == f"{home / 'a.fits'} -> {home / 'a.masks.fits'}\n"
    for said in (
        "loaded preset=maximask-1.4 device=cpu engine=",
        f"masking path={home / 'a.fits'}",
    ):
        assert said in result.stderr
    for hdu in (0, 1):
        line = rf"masked hdu={hdu} of={home / 'a.fits'} mpix=0\.00 seconds=\S+ mpix_per_s=0\.\d+\n"
        assert re.search(line, result.stderr)
    assert "1 masked (0.0 Mpix), 0 skipped, 0 failed" in result.stderr


def on_a_terminal(*words: str, errors: Path | None = None) -> str:
    """Run the command on a terminal, standard error there too or in a file; return its bytes."""
    ours, theirs = pty.openpty()
    with (
        open(errors or os.devnull, "wb") as file,  # noqa: PTH123 (`None` is no path)
        subprocess.Popen(
            [sys.executable, "-m", "watcher.cli", "mask", "cpu", *words],
            stdout=theirs,
            stderr=file if errors else theirs,
            env=os.environ
            | {"TERM": "xterm", "COLUMNS": "300", "PYTHONIOENCODING": "utf-8:strict"},
        ) as process,
    ):
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # Linux says so when the other end is closed.
        process.wait(200)
    os.close(ours)
    return shown.decode()


def screen(written: str) -> list[str]:
    """Return the lines that stand on a terminal in the end."""
    lines, row, column = [""], 0, 0
    for part in re.finditer(r"\x1b\[([\d;?]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+", written):
        match part[0], part[2]:
            case "\r", _:
                column = 0
            case "\n", _:
                row += 1
                lines += [""] * (row == len(lines))
            case _, "K":
                lines[row] = ""
            case _, "A":
                row -= int(part[1])
            case text, None:
                before = lines[row].ljust(column)
                column += len(text)
                lines[row] = before[: column - len(text)] + text + before[column:]
    return [line for line in lines if line]


def test_a_terminal_shows_bars_of_files_and_of_tiles(home: Path, sky: np.ndarray) -> None:
    write(home / "a.fits", sky, sky[::-1])
    shown = on_a_terminal("a.fits")
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown).splitlines()
    for bar in (
        r"exposures ━+ +0% *",
        r"exposures ━+ 100% 1/1 *",
        r"a\.fits +━+╺?━+ +50% 0\.2/0\.4 Mpix *",
    ):
        assert any(re.fullmatch(bar, line) for line in lines), bar
    assert screen(shown) == [f"{home / 'a.fits'} -> {home / 'a.masks.fits'}"]


def test_what_is_said_while_bars_are_shown_stays_on_the_terminal(
    home: Path, sky: np.ndarray
) -> None:
    name = os.fsdecode(b"n\xff.fits")
    try:
        write(home / name, sky[:60, :70], sky[:50, :70])
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    lines = screen(on_a_terminal("-v", "nowhere.fits", name, "nowhere.fits[1]"))
    assert len(lines) == 8
    loaded, missing, masking, first, second, done, last, totals = lines
    assert "loaded preset=" in loaded
    assert (
        missing == f"{home}/nowhere.fits does not exist: name a file, file[N], directory or list."
    )
    assert f"masking path={home}/n\ufffd.fits" in masking
    for hdu, line in enumerate((first, second)):
        assert f"masked hdu={hdu} of={home}/n\ufffd.fits mpix=0.00 seconds=" in line
        assert "mpix_per_s=" in line
    assert done == f"{home}/n\ufffd.fits -> {home}/n\ufffd.masks.fits"
    assert last == missing
    assert totals == "1 masked (0.0 Mpix), 0 skipped, 2 failed"


def test_errors_go_where_standard_error_goes_whatever_is_on_the_terminal(
    home: Path, sky: np.ndarray
) -> None:
    write(home / "a.fits", sky[:60, :70])
    shown = on_a_terminal("a.fits", "nowhere.fits", errors=home / "errors.txt")
    assert screen(shown) == [f"{home / 'a.fits'} -> {home / 'a.masks.fits'}"]
    assert f"{home}/nowhere.fits does not exist" in (home / "errors.txt").read_text()


def test_masks_can_go_elsewhere_and_never_over_each_other(home: Path, sky: np.ndarray) -> None:
    for folder in ("one", "two"):
        (home / folder).mkdir()
        write(home / folder / "a.fits", sky[:60, :70])
    result = run("--output-dir", "out", "one", "two", status=1)
    assert [path.name for path in (home / "out").iterdir()] == ["a.masks.fits"]
    assert "would overwrite" in result.stderr
    assert fits.getval(home / "out" / "a.masks.fits", "MMSOURCE") == "a.fits"


@pytest.mark.parametrize("algorithm", ["rice", "gzip"])
@pytest.mark.parametrize("product", ["masks", "bitmask", "probabilities"])
def test_masks_can_be_compressed_without_loss(
    algorithm: str, product: str, home: Path, sky: np.ndarray
) -> None:
    write(home / "a.fits", sky[:90, :120], np.stack([sky[:50, :60]] * 2))
    if (algorithm, product) == ("rice", "probabilities"):
        message = run("--compress", algorithm, "--format", product, "a.fits", status=1).stderr
        assert "RICE would round probabilities" in message
        return
    run("--format", product, "a.fits")
    run("--format", product, "--compress", algorithm, "a.fits")
    with fits.open("a.masks.fits") as plain, fits.open("a.masks.fits.fz", checksum=True) as packed:
        assert packed[0].data is None
        for index in (0, 1):
            np.testing.assert_array_equal(packed[index + 1].data, plain[index].data)
            assert packed[index + 1].data.dtype == plain[index].data.dtype.newbyteorder("=")
            assert packed[index + 1].header["MMCLS1"] == "CR"
        assert packed[0].header["MMKEY"] == packed[1].header["MMKEY"]
    assert Path("a.masks.fits.fz").stat().st_size < Path("a.masks.fits").stat().st_size


def test_hdus_are_chosen_and_others_left_out(home: Path, sky: np.ndarray) -> None:
    hdus = [fits.ImageHDU(sky[:60, :70], name=name) for name in ("SCI", "MASK")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(home / "a.fits")
    run("--hdus", "SCI*", "--others", "drop", "a.fits")
    with fits.open("a.masks.fits") as masks:
        assert [hdu.name for hdu in masks] == ["PRIMARY", "SCI"]
        assert (masks[0].header["MMHDUS"], masks[0].header["MMOTHERS"]) == ("SCI*", "drop")
    run("--hdus", "SCI", "a.fits")
    with fits.open("a.masks.fits") as masks:
        np.testing.assert_array_equal(masks["MASK"].data, hdus[1].data)
        for hdu in ("PRIMARY", "SCI"):
            header = masks[hdu].header
            assert (header["MMHDUS"], header["MMOTHERS"]) == ("SCI", "copy")
    assert "no image HDU that mask.hdus (DQ) names" in run("--hdus", "DQ", "a.fits").stderr


def test_the_planes_of_2018_can_be_asked_for(home: Path, sky: np.ndarray) -> None:
    write(home / "a.fits", sky)
    run("--vocabulary", "2018", "a.fits")
    masks, header = fits.getdata("a.masks.fits", header=True)
    assert header["MMTILES"] == "wide"
    names = [header[f"MMCLS{number}"] for number in range(1, 15)]
    assert names == list(CLASSES_2018)
    planes = dict(zip(names, masks, strict=True))
    assert planes["BC"][:, 200].mean() > 0.9
    assert planes["BL"][300].mean() > 0.9
    assert planes["BC"].sum() < 2 * 430
    assert planes["BL"].sum() < 2 * 450


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--prior_modif", "perhaps", "a.fits"), "'perhaps' is not a valid boolean"),
        (("--single_mask", "1", "--proba_thresh", "0", "a.fits"), "--single_mask needs thresholds"),
        (("--format", "masks", "--single_mask", "1", "a.fits"), "--format masks contradicts"),
        (("--batch_size", "0", "a.fits"), "0 is not in the range"),
        ((), "Missing argument 'IM_PATH...'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(words: tuple[str, ...], sentence: str) -> None:
    assert sentence in run(*words, status=2).stderr


def test_the_network_may_be_the_directory_of_the_published_package(
    home: Path, sky: np.ndarray
) -> None:
    write(home / "a.fits", sky)
    folder = Path(sys.modules[MaxiMask_inference.__module__].__file__).parent / "model"
    run("a.fits")
    ours = fits.getdata("a.masks.fits")
    run("--net_dir", folder, "a.fits")
    assert fits.getval("a.masks.fits", "MMPRESET") == "maximask-1.x"
    assert (fits.getdata("a.masks.fits") == ours).mean() > 0.99999


def test_the_network_may_be_the_directory_of_2018(
    home: Path, sky: np.ndarray, checkpoint_2018: Any
) -> None:
    plane = sky[:400, :400]
    write(home / "a.fits", plane)
    run("--net_path", checkpoint_2018.folder, "--tiles", "reference", "--track", "a.fits")
    masks, header = fits.getdata("a.masks.fits", header=True)
    assert [header[f"MMCLS{number}"] for number in range(1, 15)] == list(CLASSES_2018)
    assert header["MMPRESET"] == "maximask-2018"
    normalised = normalise_plane(plane, Preprocessing.V2018)
    tile = normalised.background.normalise(normalised.clean)
    raw = checkpoint_2018.probabilities(tile[np.newaxis])[0]
    for one, probability, plane in zip(RELEASE_2018.classes, raw, masks, strict=True):
        factor = one.training_prior * (1 - one.prior) / ((1 - one.training_prior) * one.prior)
        shifted = probability / (probability + factor * (1 - probability))
        assert (plane == (shifted > one.threshold)).mean() > 0.9999
    track = header["MMTRACK"]
    run("--track", "a.fits")
    assert fits.getval("a.masks.fits", "MMTRACK") == track


def test_class_files_of_1_4_are_refused_for_the_network_of_2018(
    home: Path, sky: np.ndarray, checkpoint_2018: Any
) -> None:
    write(home / "a.fits", sky[:60, :70])
    lines = [f"{name} 1" for name in NAMES]
    (home / "classes.flags").write_text("\n".join(lines))
    result = run("--net_path", checkpoint_2018.folder, "a.fits", status=1)
    assert (
        "classes.flags, line 2: there is no class HCL: expected one of BBG BC BG" in result.stderr
    )
    assert not (home / "a.masks.fits").exists()


def test_a_preset_that_is_not_there_is_said(home: Path, sky: np.ndarray) -> None:
    write(home / "a.fits", sky[:60, :70])
    assert "There is no preset" in run("--net_path", "nowhere", "a.fits", status=1).stderr


def test_a_list_says_which_line_is_wrong(home: Path, sky: np.ndarray) -> None:
    write(home / "a.fits", sky[:60, :70])
    (home / "some.list").write_text("a.fits\nb.fits\nmore.list\n")
    result = run("some.list", status=1)
    assert f"{home / 'some.list'}, line 2: {home / 'b.fits'} does not exist" in result.stderr
    assert "line 3: a list in a list" in result.stderr
    assert (home / "a.masks.fits").exists()


def test_a_real_exposure_is_masked_once_by_hand_and_not_again(
    home: Path, real: Callable[[str], Path]
) -> None:
    path = home / "ccd.fits"
    path.write_bytes(real("saao_ste3_a8280271.fits").read_bytes())
    run("ccd.fits")
    first = fits.getdata("ccd.masks.fits")
    assert first[0].sum() > 100
    run("ccd.fits[0]")
    np.testing.assert_array_equal(fits.getdata("ccd.masks0.fits"), first)


def scores(name: str, *, prior: float) -> float:
    """Return the published tool's probability of a tracking error."""
    package = Path(sys.modules[MaxiTrack_inference.__module__].__file__).parent
    MaxiTrack_inference(name, str(package / "model"), prior, 1, 99).process_all()
    return float(Path("maxitrack.out").read_text().split()[-1])


@pytest.mark.parametrize("prior", [0.05, 0.6])
def test_a_tracking_error_is_as_probable_as_in_the_published_tool(
    prior: float, home: Path, sky: np.ndarray
) -> None:
    trailed = np.random.default_rng(7).normal(400, 9, (420, 830)).astype(np.float32)
    for y, x in np.random.default_rng(8).integers(20, 380, (50, 2)):
        trailed[y : y + 3, x : x + 14] += 700
    write(home / "a.fits", sky, trailed)
    words = () if prior == 0.05 else ("--prior", prior)
    result = run("--track", *words, "a.fits")
    header = fits.getheader("a.masks.fits")
    expected = scores("a.fits", prior=prior)
    assert header["MMTRACK"] == pytest.approx(expected, abs=1e-4)
    assert f" tracking error {header['MMTRACK']:.4f}" in result.stdout
    with fits.open("a.masks.fits", checksum=True) as masks:
        each = [hdu.header["MMTRK1"] for hdu in masks]
        assert np.mean(each) == pytest.approx(header["MMTRACK"])
        assert masks[0].verify_checksum() == masks[1].verify_checksum() == 1


def test_a_fraction_of_the_hdus_can_be_looked_at_for_a_tracking_error(
    home: Path, sky: np.ndarray
) -> None:
    # What is too small for a score takes no large HDU's place.
    write(home / "a.fits", sky[:400, :400], *[sky[:50, :60]] * 7, sky[:400, :400])
    run("--track", "--frac", "0.5", "a.fits")
    with fits.open("a.masks.fits") as masks:
        scored = [hdu.header["MMTRK1"] for hdu in masks if "MMTRK1" in hdu.header]
        assert scored == [pytest.approx(masks[0].header["MMTRACK"])]
    run("a.fits")
    assert "MMTRACK" not in fits.getheader("a.masks.fits")


@pytest.mark.parametrize("words", [("--prior", "0"), ("--prior", "1"), ("--frac", "0")])
def test_a_prior_or_fraction_out_of_bounds_is_refused(words: tuple[str, ...]) -> None:
    assert "Setting mask.track_" in run("--track", *words, "a.fits", status=1).stderr
