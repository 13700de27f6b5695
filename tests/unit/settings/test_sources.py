"""Where settings come from, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from settings.sources import Settings, SettingsError, load, variable_names


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MAXIMASKD_"):
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "maximaskd.toml"
    path.write_text('[mask]\npreset = "from-toml"\ntiles = "reference"\n[worker]\nthreads = 3\n')
    return path


def test_flags_come_before_environment_before_toml_before_defaults(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXIMASKD_MASK_PRESET", "from-environment")
    monkeypatch.setenv("MAXIMASKD_MASK_TILES", "wide")
    settings = load(toml, flags={"mask": {"preset": "from-flags"}})
    assert settings.mask.preset == "from-flags"
    assert settings.mask.tiles == "wide"
    assert settings.worker.threads == 3
    assert settings.worker.max_attempts == 3


def test_a_variable_names_the_toml_file(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAXIMASKD_CONFIG", str(toml))
    assert load().mask.preset == "from-toml"


def test_every_field_has_a_variable() -> None:
    names = variable_names()
    assert names["MAXIMASKD_REDIS_URL"] == ("redis", "url")
    assert names["MAXIMASKD_WORKER_ALLOW_CPU_ON_GPU_QUEUE"] == ("worker", "allow_cpu_on_gpu_queue")


def test_tuples_and_mappings_are_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAXIMASKD_MASK_CLASSES", '["CR", "TRL"]')
    monkeypatch.setenv("MAXIMASKD_MASK_PRIORS", '{"CR": 0.01}')
    settings = load()
    assert settings.mask.classes == ("CR", "TRL")
    assert settings.mask.priors == {"CR": 0.01}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "MAXIMASKD_MASK_PRESETS",
            "x",
            "did you mean MAXIMASKD_MASK_PRESET",
        ),
        ("MAXIMASKD_QQQQQQ", "x", "see the settings table"),
        ("MAXIMASKD_MASK_CLASSES", "CR,TRL", "write tuples and mappings as JSON"),
        ("MAXIMASKD_WORKER_THREADS", "-1", r"worker\.threads \(from MAXIMASKD_WORKER_THREADS\)"),
        (
            "MAXIMASKD_MASK_PRIORS",
            '{"CR": 1.5}',
            r"priors\.CR \(from MAXIMASKD_MASK_PRIORS\)",
        ),
        ("MAXIMASKD_REDIS_URL", "http://x", r"redis\.url"),
        ("MAXIMASKD_SITE_LONGITUDE_DEG", "nan", r"site\.longitude_deg"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=sentence):
        load()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[mask]\nprest = 'x'\n", r"mask\.prest \(from .*my\.toml\)"),
        ("[masks]\n", r"masks"),
        ("[mask\n", r"my\.toml is not TOML"),
        ("[arrival]\nquiet_s = 'long'\n", r"arrival\.quiet_s \(from .*my\.toml\)"),
    ],
)
def test_a_wrong_toml_file_is_refused_by_place(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        load(path)


def test_a_missing_toml_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Cannot read the settings file .*none\.toml"):
        load(tmp_path / "none.toml")


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.mask = None  # type: ignore[assignment]
    assert isinstance(settings, Settings)


def test_paths_are_absolute_and_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAXIMASKD_STATE_DIR", "~/somewhere")
    monkeypatch.setenv("MAXIMASKD_ROOT_DIRECTORIES", '["incoming"]')
    settings = load()
    assert settings.state.dir == Path.home() / "somewhere"
    assert settings.root.directories == (Path.cwd() / "incoming",)


def test_the_state_directory_follows_the_desktop_standard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert load().state.dir == tmp_path / "maximaskd"


def test_two_roots_may_not_share_a_place_below_the_output_root() -> None:
    same = {"directories": ["/a/data", "/b/data"]}
    assert len(load(flags={"root": same}).root.directories) == 2
    with pytest.raises(SettingsError, match="two directories have the same name"):
        load(flags={"root": same | {"output_root": "/masks"}})
