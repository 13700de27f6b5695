"""Keys change with what changes a mask, and with nothing else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from settings.schema import MaskSettings
from worker.identity import arrival_key, configuration_hash, exposure_key, path_hash

ROOT = Path("/data/raw")
EXPOSURE = ROOT / "2026-11-22" / "n0001.fits"
NETWORKS = ["ab" * 32]
KNOWN: dict[str, Any] = {"size": 2880, "mtime_ns": 7, "configuration": "c" * 16}


def test_a_configuration_has_a_recorded_hash() -> None:
    # Recorded: a change here means that every exposure of every user is masked again.
    assert configuration_hash(MaskSettings(), NETWORKS) == "f308648145829473"


@pytest.mark.parametrize(
    "changed",
    [
        {"preset": "other"},
        {"tiles": "reference"},
        {"format": "bitmask"},
        {"classes": ("CR", "HP")},
        {"prior_modif": False},
        {"priors": {"CR": 0.1}},
        {"thresholds": {"CR": 0.1}},
        {"vocabulary": "2018"},
        {"compress": "rice"},
        {"hdus": ("SCI",)},
        {"others": "drop"},
        {"track": True},
        {"track_prior": 0.5},
        {"track_frac": 0.5},
    ],
)
def test_every_mask_setting_changes_the_configuration(changed: dict[str, Any]) -> None:
    assert set(changed) <= set(MaskSettings.model_fields)
    assert configuration_hash(MaskSettings(**changed), NETWORKS) != configuration_hash(
        MaskSettings(), NETWORKS
    )


def test_the_settings_tested_here_are_all_there_are() -> None:
    marks = test_every_mask_setting_changes_the_configuration.pytestmark  # type: ignore[attr-defined]
    assert {name for case in marks[0].args[1] for name in case} == (
        set(MaskSettings.model_fields) - {"config_dir"}
    )


def test_the_place_of_class_files_is_no_change_but_a_problem_with_them_is() -> None:
    plain = configuration_hash(MaskSettings(), NETWORKS)
    assert configuration_hash(MaskSettings(config_dir=Path("/etc/night")), NETWORKS) == plain
    assert configuration_hash(MaskSettings(), NETWORKS, problem="line 3") != plain


def test_other_networks_change_the_configuration() -> None:
    settings = MaskSettings()
    assert configuration_hash(settings, ["cd" * 32]) != configuration_hash(settings, NETWORKS)
    assert configuration_hash(settings, [*NETWORKS, "cd"]) != configuration_hash(settings, NETWORKS)


def test_the_order_of_mappings_is_no_change_but_that_of_classes_is() -> None:
    one = MaskSettings(priors={"CR": 0.1, "HP": 0.2})
    two = MaskSettings(priors={"HP": 0.2, "CR": 0.1})
    assert configuration_hash(one, NETWORKS) == configuration_hash(two, NETWORKS)
    one, two = MaskSettings(classes=("CR", "HP")), MaskSettings(classes=("HP", "CR"))
    assert configuration_hash(one, NETWORKS) != configuration_hash(two, NETWORKS)


def test_an_exposure_has_a_recorded_key() -> None:
    assert exposure_key(ROOT, EXPOSURE, **KNOWN) == "7d6292df19d04ebd981612a95c5dacf3"
    assert arrival_key(ROOT, EXPOSURE) == "arrival-57e68db54eb259212359b158f3def0c2"


def test_each_part_of_an_exposure_changes_its_key() -> None:
    keys = {
        exposure_key(ROOT, EXPOSURE, **KNOWN),
        exposure_key(ROOT, EXPOSURE, **{**KNOWN, "size": 5760}),
        exposure_key(ROOT, EXPOSURE, **{**KNOWN, "mtime_ns": 8}),
        exposure_key(ROOT, EXPOSURE, **{**KNOWN, "configuration": "d" * 16}),
        exposure_key(ROOT, EXPOSURE, **KNOWN, hdu=0),
        exposure_key(ROOT, EXPOSURE, **KNOWN, hdu=1),
        exposure_key(ROOT, EXPOSURE.with_name("n0002.fits"), **KNOWN),
        exposure_key(ROOT / "2026-11-22", EXPOSURE, **KNOWN),
        exposure_key(ROOT, EXPOSURE, **KNOWN, output_dir=Path("/masks")),
        exposure_key(ROOT, EXPOSURE, **KNOWN, output_dir=Path("/masks"), hdu=0),
    }
    assert len(keys) == 10


def test_a_path_its_hdus_and_its_masks_elsewhere_are_told_apart() -> None:
    path = "/data/a.fits"
    hashes = {
        path_hash(path),
        path_hash(path, hdu=0),
        path_hash(path, hdu=1),
        path_hash(path, output_dir="/masks"),
        path_hash(path, hdu=1, output_dir="/masks"),
        path_hash(path + "1", output_dir="/masks"),
    }
    assert len(hashes) == 6
    # Recorded: records that are on a server must still be found.
    assert path_hash(path) == hashlib.sha256(path.encode()).hexdigest()


def test_a_path_outside_its_root_has_a_key() -> None:
    outside = Path("/home/ann/a.fits")
    keys = {exposure_key(ROOT, outside, **KNOWN), exposure_key(ROOT, ROOT / "a.fits", **KNOWN)}
    assert len(keys) == 2


@pytest.mark.parametrize("name", [b"n\xff.fits", "été [1] .fits".encode(), b"a\nb.fits"])
def test_odd_file_names_have_keys_of_their_own(name: bytes) -> None:
    path = ROOT / os.fsdecode(name)
    plain = ROOT / "n.fits"
    assert exposure_key(ROOT, path, **KNOWN) != exposure_key(ROOT, plain, **KNOWN)
    assert arrival_key(ROOT, path) != arrival_key(ROOT, plain)
    assert path_hash(path) == path_hash(os.fsdecode(os.fsencode(path))) != path_hash(plain)


def test_an_arrival_never_meets_an_exposure() -> None:
    assert arrival_key(ROOT, EXPOSURE).startswith("arrival-")
    assert int(exposure_key(ROOT, EXPOSURE, **KNOWN), 16) >= 0
