"""What README and manual show runs as it stands there, and what they state is so."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from model.preset import read_card
from model.probability import make_recipe
from model.vocabulary import SOURCES_2018
from settings.schema import MaskSettings
from watcher.cli import main
from worker.header import CLASS_FILE_CARDS, VERSION_CARDS, Provenance, make_header

REPOSITORY = Path(__file__).parents[2]
README, MASKS = REPOSITORY / "README.md", REPOSITORY / "docs" / "masks.md"
CARD = read_card("maximask-1.4")
INDEX = {mask_class.name: mask_class.index for mask_class in CARD.classes}
SHAPE = (80, 100)
#: Centres (y, x) of the stars of each CCD.
STARS = ((20, 30), (60, 70), (34, 82))
#: What SExtractor 2.25.0 writes for these files.
CATALOGUE = """\
#   1 NUMBER                 Running object number
#   2 X_IMAGE                Object position along x                                    [pixel]
#   3 Y_IMAGE                Object position along y                                    [pixel]
#   4 EXT_NUMBER             FITS extension number
#   5 IMAFLAGS_ISO           FLAG-image flags OR'ed over the iso. profile
#   6 NIMAFLAGS_ISO          Number of flagged pixels entering IMAFLAGS_ISO
         1     31.0051     21.0097   1         0         0
         2     11.1205      7.9542   1       256         4
         3      3.0028     71.5012   1        68        12
         4     71.0053     60.9978   1       512         3
         5     53.0003     42.0001   1         1        15
         6     83.0049     35.0098   1         0         0
         7     53.4965     71.5000   1        64       188
         1     30.9887     20.9801   2         0         0
         2     53.5132     71.5002   2        64       188
         3      3.0008     71.4996   2        68        12
         4     70.9950     60.9907   2       512         3
         5     68.2618     49.2661   2         0         0
         6     53.0001     41.9998   2         1        15
         7     83.0100     34.9836   2         0         0
"""
SEXTRACTOR = shutil.which("source-extractor") or shutil.which("sex")


@dataclass(frozen=True)
class Block:
    """A block of a page that is shown in a language."""

    page: Path
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.heading}".replace(" ", "-")


def blocks(page: Path, language: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    sections = re.split(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [
        Block(page, heading, language, shown)
        for heading, text in zip(sections[1::2], sections[2::2], strict=True)
        for shown in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    ]


def commands(page: Path, heading: str) -> list[list[str]]:
    """Return the words of each command of a section's shell blocks."""
    shown = "".join(block.text for block in blocks(page, "sh") if block.heading == heading)
    lines = shown.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def tables(page: Path, heading: str) -> list[list[str]]:
    """Return the rows of a section's tables, without the lines that head them."""
    text = page.read_text(encoding="utf-8").split(f"# {heading}\n")[1].split("\n#")[0]
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    heads = {number - 1 for number, row in enumerate(rows) if set("".join(row)) == {"-"}}
    return [
        row for number, row in enumerate(rows) if number not in heads and set("".join(row)) != {"-"}
    ]


def make_masks() -> np.ndarray:
    """Return masks of some contaminants, shape (14, ny, nx)."""
    masks = np.zeros((14, *SHAPE), bool)
    masks[INDEX["CR"], 40:43, 50:55] = True
    masks[INDEX["HP"], 10, 90] = True
    masks[INDEX["DCL"], :, 5] = True
    masks[INDEX["TRL"], 70:72] = True
    masks[INDEX["NEB"], :8] = True
    masks[INDEX["SAT"], 60, 69:72] = True
    return masks


def make_plane(seed: int) -> np.ndarray:
    """Return a sky of 100 ADU, 3 ADU of noise, with stars and what is masked."""
    plane = np.random.default_rng(seed).normal(100, 3, SHAPE)
    y, x = np.indices(SHAPE)
    for star_y, star_x in STARS:
        plane += 600 * np.exp(-((y - star_y) ** 2 + (x - star_x) ** 2) / 5)
    masks = make_masks()
    for name, adu in (("CR", 3000), ("HP", 9000), ("DCL", -90), ("TRL", 400)):
        plane[masks[INDEX[name]]] += adu
    return plane.astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_masks: Callable[..., None]) -> Path:
    """Make the exposures and mask files that the manual speaks of."""
    home = tmp_path_factory.mktemp("manual")
    (home / "bits").mkdir()
    names = [fits.Header(), *(fits.Header({"EXTNAME": f"CCD{number}"}) for number in (1, 2))]
    nothing = np.zeros((14, 0, 0))
    masks = make_masks()
    for seed, name in enumerate("abc"):
        planes = [make_plane(10 * seed + number) for number in (1, 2)]
        fits.HDUList(
            [fits.PrimaryHDU()]
            + [
                fits.ImageHDU(plane, header)
                for plane, header in zip(planes, names[1:], strict=True)
            ]
        ).writeto(home / f"{name}.fits")
        # A cosmic ray hits one exposure only.
        hit = masks.copy()
        hit[INDEX["CR"]] &= name == "a"
        for target, product_format in ((home, "masks"), (home / "bits", "bitmask")):
            write_masks(
                target / f"{name}.masks.fits",
                {0: nothing, 1: hit, 2: hit},
                headers=dict(enumerate(names)),
                format=product_format,
            )
    return home


def check_readme(names: Mapping[str, Any]) -> None:
    assert names["masks"].shape == (14, 60, 70)
    assert names["masks"].dtype == np.uint8


def check_flags(names: Mapping[str, Any]) -> None:
    masks = make_masks()
    bits = {one.name: one.bit for one in CARD.classes if one.bit}
    for flags in (names["MaxiMask"], names["MaxiMask14"]):
        assert {name: int(flags[name]) for name in bits} == bits
    np.testing.assert_array_equal(names["rays"], masks[INDEX["CR"]])
    chosen = [INDEX[name] for name in ("HCL", "DCL", "HP", "DP")]
    np.testing.assert_array_equal(names["defects"], masks[chosen].any(axis=0))
    others = [index for name, index in INDEX.items() if name not in {"NEB", "BG"}]
    np.testing.assert_array_equal(names["all_but_nebulosity"], masks[others].any(axis=0))


def check_astropy(names: Mapping[str, Any]) -> None:
    masks = make_masks()
    chosen = [INDEX[name] for name in ("CR", "DCL", "SAT")]
    np.testing.assert_array_equal(names["ccd"].mask, masks[chosen].any(axis=0))
    assert names["median"] == pytest.approx(100, abs=0.3)
    assert names["deviation"] == pytest.approx(3, abs=0.3)


def check_ccdproc(names: Mapping[str, Any]) -> None:
    masks, mean = make_masks(), names["mean"]
    np.testing.assert_array_equal(mean.mask, masks[INDEX["TRL"]])
    planes = np.array([make_plane(10 * seed + 1) for seed in range(3)])
    hit = masks[INDEX["CR"]]
    np.testing.assert_allclose(mean.data[hit], planes[1:, hit].mean(axis=0), rtol=1e-6)
    clean = ~masks.any(axis=0)
    np.testing.assert_allclose(mean.data[clean], planes[:, clean].mean(axis=0), rtol=1e-6)


def check_photutils(names: Mapping[str, Any]) -> None:
    sources = names["sources"]
    assert len(sources) == len(STARS)
    found = sorted(zip(sources["y_centroid"], sources["x_centroid"], strict=True))
    np.testing.assert_allclose(found, sorted(STARS), atol=0.3)
    assert np.median(names["background"].background) == pytest.approx(100, abs=1)


def check_sextractor(names: Mapping[str, Any]) -> None:
    objects = names["objects"]
    assert objects["EXT_NUMBER"].tolist() == [1, 2]
    np.testing.assert_allclose(objects["X_IMAGE"], 71, atol=0.3)
    np.testing.assert_allclose(objects["Y_IMAGE"], 61, atol=0.3)
    assert objects["IMAFLAGS_ISO"].tolist() == [512, 512]
    assert objects["NIMAFLAGS_ISO"].tolist() == [3, 3]
    # Each star and ray is there, the ray with the first bit.
    catalogue = names["catalogue"]
    rays = catalogue[catalogue["IMAFLAGS_ISO"] & 1 != 0]
    assert rays["NIMAFLAGS_ISO"].tolist() == [15, 15]
    np.testing.assert_allclose(rays["X_IMAGE"], 53, atol=0.3)


#: What each block of Python leaves, by page and section.
CHECKS = {
    (README, "The parts on their own"): check_readme,
    (MASKS, "The classes and their bits"): check_flags,
    (MASKS, "astropy"): check_astropy,
    (MASKS, "ccdproc"): check_ccdproc,
    (MASKS, "photutils"): check_photutils,
    (MASKS, "SExtractor"): check_sextractor,
}


def run(block: Block) -> None:
    """Run a block of Python and check what it leaves."""
    names = {"plane": np.random.default_rng(1).normal(100, 5, (60, 70))}
    exec(block.text, names)  # noqa: S102 (our own manual)
    CHECKS[block.page, block.heading](names)


# As the manual says of pixels that are masked in all exposures.
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of freedom <= 0:RuntimeWarning")
@pytest.mark.parametrize("block", [*blocks(README, "python"), *blocks(MASKS, "python")], ids=str)
def test_the_python_of_the_manual_runs(
    block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("a.cat").write_text(CATALOGUE, encoding="ascii")
    run(block)


@pytest.mark.skipif(SEXTRACTOR is None, reason="SExtractor is not installed")
def test_sextractor_gives_objects_the_bits_of_their_pixels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("a.cat").unlink(missing_ok=True)
    (shell,) = (block for block in blocks(MASKS, "sh") if block.heading == "SExtractor")
    program = shell.text.replace("source-extractor", shlex.quote(str(SEXTRACTOR)))
    subprocess.run(["/bin/sh", "-ec", program], check=True, capture_output=True, timeout=60)
    (block,) = (block for block in blocks(MASKS, "python") if block.heading == "SExtractor")
    run(block)


def test_every_block_of_python_is_checked() -> None:
    shown = {
        (block.page, block.heading) for page in (README, MASKS) for block in blocks(page, "python")
    }
    assert shown == set(CHECKS)


def test_flag_maps_are_what_sextractor_reads(folder: Path) -> None:
    (words,) = (words for words in commands(MASKS, "SExtractor") if words[0] == "source-extractor")
    exposure, flags = words[1], words[words.index("-FLAG_IMAGE") + 1]
    with fits.open(folder / exposure) as images, fits.open(folder / flags) as maps:
        assert len(images) == len(maps) == 3
        for image, flag_map in zip(images[1:], maps[1:], strict=True):
            assert flag_map.header["BITPIX"] in {8, 16, 32}
            assert flag_map.shape == image.shape == SHAPE
            assert "BZERO" not in flag_map.header
    assert words[words.index("-FLAG_TYPE") + 1] == "OR"


def test_ds9_is_shown_hdus_and_planes_that_are_there(folder: Path) -> None:
    shown = commands(MASKS, "DS9")
    for words in shown:
        assert words[0] == "ds9"
        named = [re.fullmatch(r"(.+\.fits)\[(.+)\]", word) for word in words]
        files = [match.groups() for match in named if match]
        assert len(files) == 2
        shapes = [fits.getdata(folder / path, hdu).shape[-2:] for path, hdu in files]
        assert shapes == [SHAPE, SHAPE]
    cube, overlay = shown
    number = cube[cube.index("-cube") + 1]
    assert fits.getval(folder / "a.masks.fits", f"MMCLS{number}", "CCD1") == "SAT"
    (bits,) = [word for word in overlay if word.startswith("bits/")]
    assert overlay[overlay.index(bits) - 1] == "-mask"


def test_the_commands_that_make_the_masks_are_understood(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for words in commands(MASKS, "Using the masks"):
        assert words[:2] == ["maximaskd", "mask"]
        parent = main.make_context("maximaskd", words[1:])
        context = main.commands["mask"].make_context("mask", words[2:], parent=parent)
        assert context.params


def test_the_table_of_classes_is_that_of_the_preset() -> None:
    expected = [
        [
            str(one.index + 1),
            one.name,
            one.full_name,
            str(one.bit.bit_length() - 1) if one.bit else "",
            str(one.bit or ""),
        ]
        for one in CARD.classes
    ]
    assert tables(MASKS, "The classes and their bits") == expected


def test_the_table_of_both_vocabularies_is_the_map_that_is_applied() -> None:
    shown: dict[str, str] = {}
    for old, new, _ in tables(README, "Which classes, priors and thresholds"):
        names = re.split(r",? ", old)
        sources = names if new == "the same" else re.split(r",? ", new)
        shown |= zip(names, sources * len(names) if len(sources) == 1 else sources, strict=False)
    assert shown == {name: source for name, (source, _) in SOURCES_2018.items()}


def test_every_card_is_in_the_manual() -> None:
    provenance = Provenance(
        key="k",
        configuration="c",
        preset=CARD.name,
        preset_sha256=CARD.sha256,
        source="a.fits",
        source_sha256="5",
        device="cpu",
        engine="none",
        tiles="wide",
        attempt=1,
        versions=dict.fromkeys(VERSION_CARDS, "1"),
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    recipe = make_recipe(CARD, MaskSettings(format="bitmask"))
    header = make_header(fits.Header(), provenance, recipe, hdu=0, note="odd")
    numbered = {re.sub(r"\d+\Z", "n", re.sub(r"\AMP_.*", "MP_name", keyword)) for keyword in header}
    assert set(CLASS_FILE_CARDS) < numbered
    # Those of the tracking errors are written where they are known.
    written = numbered | {"MMTRKn", "MMTRACK"}
    described = {card for row in tables(MASKS, "The header") for card in row[0].split(", ")}
    assert described == written


@pytest.mark.parametrize("page", [README, MASKS], ids=lambda page: page.stem)
def test_everything_that_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8"))
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
            assert anchor in slugs, link


def test_the_tests_that_the_table_of_features_names_are_there() -> None:
    text = README.read_text(encoding="utf-8").split("| tested in |")[1].split("\n\n")[0]
    paths, names = re.findall(r"`(tests/[^`]+)`", text), re.findall(r"`…([^`…]+)…?`", text)
    assert len(paths) > 5
    assert len(names) > 8
    for path in paths:
        assert (REPOSITORY / path).is_file()
    tests = (REPOSITORY / "tests/service/test_mask_command.py").read_text(encoding="utf-8")
    for words in names:
        assert re.search(rf"def test_\w*{words}", tests)
