"""Which class files count for an exposure, and what becomes of what they say."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import replace
from pathlib import Path

import pytest

from model.preset import read_card
from model.probability import make_recipe
from model.vocabulary import CLASSES_2018
from settings.schema import MaskSettings
from worker.class_files import Configuration, Configurations

CARD = read_card("maximask-1.4")
NAMES = tuple(mask_class.name for mask_class in CARD.classes)


def write(folder: Path, name: str, names: tuple[str, ...] = NAMES, **values: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    default = 1 if name == "classes.flags" else 0.5
    path = folder / name
    path.write_text("".join(f"{one} {values.get(one, default)}\n" for one in names))
    return path


def found(exposure: Path, root: Path | None = None, **wishes: object) -> Configuration:
    return Configurations(MaskSettings(**wishes), CARD).of(exposure, root)


def thresholds(configuration: Configuration) -> dict[str, float]:
    recipe = make_recipe(CARD, configuration.mask)
    return {plane.mask_class.name: plane.threshold for plane in recipe.planes}


def test_without_files_the_settings_and_the_presets_defaults_count(tmp_path: Path) -> None:
    configuration = found(tmp_path / "a.fits", thresholds={"CR": 0.9})
    assert configuration.files == {}
    assert configuration.problem is None
    assert thresholds(configuration)["CR"] == 0.9
    assert thresholds(configuration)["HP"] == 0.43


def test_the_nearest_file_counts_each_kind_on_its_own(tmp_path: Path) -> None:
    root, exposure, settings = tmp_path / "r", tmp_path / "r/n/a.fits", tmp_path / "etc"
    everywhere = write(settings, "classes.thresh", CR=0.1)
    flags = write(settings, "classes.flags", BG=0)
    configuration = found(exposure, root, config_dir=settings)
    assert configuration.files == {"classes.flags": flags, "classes.thresh": everywhere}
    assert thresholds(configuration)["CR"] == 0.1
    assert "BG" not in thresholds(configuration)
    of_root = write(root, "classes.thresh", CR=0.2)
    assert found(exposure, root, config_dir=settings).files["classes.thresh"] == of_root
    beside = write(exposure.parent, "classes.thresh", CR=0.3)
    nearest = found(exposure, root, config_dir=settings)
    assert nearest.files == {"classes.flags": flags, "classes.thresh": beside}
    assert thresholds(nearest)["CR"] == 0.3


def test_a_file_counts_before_the_settings_of_the_same_kind(tmp_path: Path) -> None:
    settings = tmp_path / "etc"
    write(settings, "classes.thresh", CR=0.1)
    own = {"thresholds": {"CR": 0.9}, "priors": {"CR": 0.3}}
    exposure = tmp_path / "n" / "a.fits"
    both = found(exposure, config_dir=settings, **own)
    assert thresholds(both)["CR"] == 0.1
    assert make_recipe(CARD, both.mask).planes[0].prior == 0.3


def test_the_files_of_the_published_package_are_taken_and_say_what_the_preset_says(
    tmp_path: Path,
) -> None:
    package = Path(str(importlib.metadata.distribution("maximask").locate_file("")))
    folder = package / "maximask_and_maxitrack" / "maximask" / "config"
    configuration = found(tmp_path / "a.fits", config_dir=folder)
    assert configuration.problem is None
    assert set(configuration.files) == {"classes.flags", "classes.priors", "classes.thresh"}
    assert make_recipe(CARD, configuration.mask) == make_recipe(CARD, MaskSettings())


def test_what_is_not_applied_is_not_looked_for(tmp_path: Path) -> None:
    write(tmp_path, "classes.thresh", CR=7)
    write(tmp_path, "classes.priors", CR=7)
    assert found(tmp_path / "a", prior_modif=False, format="probabilities").problem is None
    assert "CR has the prior 7" in str(found(tmp_path / "a").problem)


def test_a_malformed_file_is_a_problem_and_mending_it_another_configuration(
    tmp_path: Path,
) -> None:
    configurations = Configurations(MaskSettings(), CARD)
    plain = configurations.of(tmp_path / "a.fits")
    path = write(tmp_path, "classes.flags", names=NAMES[1:])
    broken = configurations.of(tmp_path / "a.fits")
    assert "has no line for CR" in str(broken.problem)
    path.write_text(path.read_text() + "CR 1\n")
    mended = configurations.of(tmp_path / "a.fits")
    assert mended.problem is None
    assert broken.hash != plain.hash
    # All flags set is what no file says.
    assert mended.hash == plain.hash


def test_no_class_at_all_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "classes.flags", **dict.fromkeys(NAMES, 0))
    assert "asks for no class" in str(found(tmp_path / "a.fits").problem)


def test_files_of_2018_are_translated(tmp_path: Path) -> None:
    write(tmp_path, "classes.flags", CLASSES_2018, BL=0, HP=0)
    write(tmp_path, "classes.thresh", CLASSES_2018, BC=0.61, BL=0.1, STL=0.45)
    write(tmp_path, "classes.priors", CLASSES_2018, BC=1e-3, BL=7, HP=7)
    configuration = found(tmp_path / "a.fits")
    assert configuration.problem is None
    recipe = make_recipe(CARD, configuration.mask)
    planes = {plane.mask_class.name: plane for plane in recipe.planes}
    assert set(planes) == set(NAMES) - {"HP", "OV"}
    assert (planes["DCL"].threshold, planes["DCL"].prior) == (0.61, 1e-3)
    assert planes["TRL"].threshold == 0.45
    of_2018 = found(tmp_path / "a.fits", vocabulary="2018").mask
    assert set(make_recipe(CARD, of_2018).names) == set(CLASSES_2018) - {"BL", "HP"}


def test_values_of_classes_that_nobody_asked_for_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, "classes.priors", CR=7)
    assert found(tmp_path / "a.fits", classes=("HP",)).problem is None
    assert found(tmp_path / "a.fits", classes=("STL",)).problem is None
    assert found(tmp_path / "a.fits", classes=("CR", "HP")).problem


def test_a_directory_is_looked_at_again_only_after_a_while(tmp_path: Path) -> None:
    patient, eager = (Configurations(MaskSettings(), CARD, look_s=s) for s in (3600.0, 0.0))
    before = [one.of(tmp_path / "a.fits").hash for one in (patient, eager)]
    path = write(tmp_path, "classes.thresh", CR=0.1)
    assert patient.of(tmp_path / "a.fits").hash == before[0]
    assert eager.of(tmp_path / "b.fits").hash != before[1]
    path.write_text(path.read_text().replace("0.1", "0.2"))
    os.utime(path, ns=(1, 1))
    assert thresholds(eager.of(tmp_path / "b.fits"))["CR"] == 0.2


@pytest.mark.parametrize("kind", ["classes.flags", "classes.priors", "classes.thresh"])
def test_a_directory_of_that_name_is_a_problem_not_a_default(kind: str, tmp_path: Path) -> None:
    (tmp_path / kind).mkdir()
    assert f"{kind} cannot be read" in str(found(tmp_path / "a.fits").problem)


def test_a_changed_card_or_another_network_is_another_configuration(tmp_path: Path) -> None:
    exposure = tmp_path / "a.fits"
    eager = replace(CARD, classes=tuple(replace(one, threshold=0.1) for one in CARD.classes))
    hashes = {
        Configurations(settings, card).of(exposure).hash
        for settings in (MaskSettings(), MaskSettings(track=True))
        for card in (CARD, eager, replace(CARD, sha256="0" * 64))
    }
    assert len(hashes) == 6
