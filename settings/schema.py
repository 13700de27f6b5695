"""What a user can set: a frozen model a concern, each field with type, bounds, unit and text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "ArrivalSettings",
    "LogSettings",
    "MaskSettings",
    "RedisSettings",
    "RootSettings",
    "SettingsTree",
    "SiteSettings",
    "StateSettings",
    "WatchSettings",
    "WorkerSettings",
]

#: Endings of the exposures that are masked (FITS 4.0 itself, its tile-compressed form, gzip).
EXPOSURE_SUFFIXES = (".fits", ".fit", ".fts", ".fits.fz", ".fits.gz", ".fit.gz", ".fts.gz")

#: Names that writers use for a file which is not ready: rsync, curl, browsers, scp clients.
TEMPORARY_PATTERNS = (
    ".*",
    "*~",
    "*.tmp",
    "*.temp",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.swp",
)

#: The names that maximaskd itself writes (`product.py`), and those of MaxiMask 1.4.1.
PRODUCT_PATTERNS = (
    "*.masks.fits",
    "*.masks[0-9]*.fits",
    "*.masks.fits.fz",
    "*.masks[0-9]*.fits.fz",
    "*.mask.fits",
    "*.mask[0-9]*.fits",
)


def _default_state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "maximaskd"


def _expand(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 (resolve() would follow links)


UserPath = Annotated[Path, AfterValidator(_expand)]


class _Concern(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RedisSettings(_Concern):
    """Where the queue and the status live."""

    url: str | None = Field(
        None,
        pattern=r"^(rediss?|unix)://",
        description="Redis or Valkey server: `redis://`, `rediss://` or `unix://`; without one, "
        "`up` starts an embedded server in the state directory, which every command then finds.",
    )


class StateSettings(_Concern):
    """Where the one-machine mode keeps what must outlive it."""

    dir: UserPath = Field(
        default_factory=_default_state_dir,
        description="Directory of the embedded server's append-only file, its socket and the logs.",
    )


class SiteSettings(_Concern):
    """Where the telescope stands."""

    longitude_deg: float = Field(
        0.0,
        ge=-180.0,
        le=180.0,
        description="Longitude of the site in degrees, east positive: "
        "a night runs from local noon to local noon.",
    )


class RootSettings(_Concern):
    """What is watched."""

    directories: tuple[UserPath, ...] = Field(
        (), description="The watched roots; a task's path must lie under one of them."
    )
    recursive: bool = Field(True, description="Whether directories below a root are watched too.")
    output_root: UserPath | None = Field(
        None,
        description="Directory under which masks are written, mirroring each root's tree by the "
        "root's name; without one, masks stand beside the exposures.",
    )

    @model_validator(mode="after")
    def _refuse_roots_that_share_a_mirror(self) -> Self:
        names = [root.name for root in self.directories]
        if self.output_root is not None and len(set(names)) < len(names):
            raise ValueError(
                "two directories have the same name, and so the same place below output_root"
            )
        return self


class WatchSettings(_Concern):
    """How new files are noticed."""

    suffixes: tuple[str, ...] = Field(
        EXPOSURE_SUFFIXES, description="Endings of exposures, compared without regard to case."
    )
    ignore: tuple[str, ...] = Field(
        TEMPORARY_PATTERNS + PRODUCT_PATTERNS,
        description="Shell patterns of file or directory names that are never looked at.",
    )
    events: Literal["auto", "native", "poll"] = Field(
        "auto",
        description="`native` file events, `poll`, or `auto`: native except on file systems that "
        "send none (NFS, SMB, FUSE, ...) or when the kernel grants no more watches.",
    )
    poll_s: float = Field(5.0, gt=0, description="Seconds between two polls of a polled root.")
    sweep_s: float = Field(
        60.0, gt=0, description="Seconds between two full sweeps, which find what events missed."
    )
    queue: Literal["cpu", "gpu"] = Field(
        "cpu", description="Queue that exposures go to; `up` chooses by the device it finds."
    )


class ArrivalSettings(_Concern):
    """When a file is complete."""

    quiet_s: float = Field(
        3.0, ge=0, description="Seconds for which size, mtime and inode must not have changed."
    )
    incomplete_s: float = Field(
        600.0,
        gt=0,
        description="Seconds after the last change when a file that is still not whole is reported "
        "as `incomplete`; any further change re-arms it.",
    )


class MaskSettings(_Concern):
    """What is written for an exposure; part of every exposure's key."""

    preset: str = Field(
        "maximask-1.4",
        min_length=1,
        description="The network: name of a preset, or path of a preset's folder, of the "
        "SavedModel directory of MaxiMask 1.x, or of the directory of MaxiMask 2018.",
    )
    tiles: Literal["wide", "reference"] = Field(
        "wide",
        description="`wide`: large tiles, several times faster; `reference`: 400-pixel tiles every "
        "200, as MaxiMask 1.4.1 cuts them.",
    )
    format: Literal["masks", "probabilities", "bitmask"] = Field(
        "masks",
        description="`masks`: a uint8 plane a class; `probabilities`: a float32 plane a class; "
        "`bitmask`: one int16 plane with a bit a class.",
    )
    vocabulary: Literal["preset", "2018"] = Field(
        "preset",
        description="Classes of the planes: `preset`, the network's own; `2018`, those of the 2018 "
        "release, columns and lines told apart by their direction.",
    )
    compress: Literal["none", "rice", "gzip"] = Field(
        "none",
        description="Tile compression of the masks; with `rice` or `gzip` they are "
        "`file.masks.fits.fz`. Probabilities need `gzip`, which loses nothing.",
    )
    hdus: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Which image HDUs are exposures: numbers (`1`), EXTNAME patterns (`SCI*`) or "
        "header cards (`IMAGETYP=object`); all if empty.",
    )
    others: Literal["copy", "drop"] = Field(
        "copy", description="What becomes of all other HDUs: copied into the mask file or left out."
    )
    classes: tuple[str, ...] = Field(
        (), description="Classes to write, by their short names; all of the vocabulary's if empty."
    )
    prior_modif: bool = Field(
        True, description="Whether probabilities are shifted from the training priors."
    )
    priors: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict, description="Priors by class that replace the preset's."
    )
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="Thresholds by class that replace the preset's."
    )
    config_dir: UserPath | None = Field(
        None,
        description="Directory of `classes.flags`, `classes.priors` and `classes.thresh` for all "
        "exposures that have none in their own directory or watched root.",
    )
    track: bool = Field(
        False, description="Whether MaxiTrack's probability of a tracking error is noted too."
    )
    track_prior: float = Field(
        0.05, gt=0, lt=1, description="Proportion of exposures expected to have a tracking error."
    )
    track_frac: float = Field(
        1.0, gt=0, le=1, description="Part of an exposure's HDUs that MaxiTrack looks at."
    )

    @model_validator(mode="after")
    def _refuse_what_contradicts_itself(self) -> Self:
        if self.format == "probabilities" and self.compress == "rice":
            raise ValueError("RICE would round probabilities: use compress gzip or none")
        if self.format == "probabilities" and self.vocabulary == "2018":
            raise ValueError(
                "columns and lines are told apart in masks, not in probabilities: use vocabulary "
                "preset, or format masks or bitmask"
            )
        return self


class WorkerSettings(_Concern):
    """How a worker runs."""

    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="Device of the network; `auto`: a GPU where the worker consumes `gpu` and one "
        "is visible, else the CPU.",
    )
    engine: Literal["auto", "openvino", "keras"] = Field(
        "auto",
        description="What runs the network; `auto`: Keras on a GPU, OpenVINO on the CPU.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="What the finest scales of the network's decoder compute in where `mask.tiles` "
        "is `wide`; `auto`: `bfloat16` on a CPU that multiplies in it (AVX512_BF16, AMX), else "
        "`float32`. All else is computed in float32.",
    )
    allow_cpu_on_gpu_queue: bool = Field(
        False,
        description="Whether a worker may consume `gpu` on a machine where no GPU is visible.",
    )
    batch_size: int = Field(
        8,
        ge=1,
        le=1024,
        description="Size of what passes through the network at once, in 400-pixel tiles (wide "
        "tiles: in 131 072 pixels); lower it where memory is short.",
    )
    threads: int = Field(
        0, ge=0, le=1024, description="CPU threads of the network; 0: one for each core."
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="Attempts that end without a result before an exposure is quarantined.",
    )
    lease_s: float = Field(
        60.0, ge=1, description="Seconds after which an exposure whose worker fell silent is free."
    )
    retry_s: float = Field(
        60.0,
        ge=0,
        description="Seconds until a transient failure is tried again, doubled each time.",
    )
    soft_time_limit_s: int = Field(
        1800, ge=10, description="Seconds after which an exposure is given up with a reason."
    )
    hard_time_limit_s: int = Field(
        2100, ge=20, description="Seconds after which the process of a stuck exposure is replaced."
    )
    drain_s: float = Field(
        30.0,
        ge=0,
        description="Seconds that a stopping worker gives the running exposure before handing it "
        "back to the queue.",
    )


class LogSettings(_Concern):
    """What is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level of maximaskd's own log records."
    )


class SettingsTree(_Concern):
    """All settings, by concern; how they are read stands in `settings.sources`."""

    redis: RedisSettings = Field(default_factory=RedisSettings)
    state: StateSettings = Field(default_factory=StateSettings)
    site: SiteSettings = Field(default_factory=SiteSettings)
    root: RootSettings = Field(default_factory=RootSettings)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    arrival: ArrivalSettings = Field(default_factory=ArrivalSettings)
    mask: MaskSettings = Field(default_factory=MaskSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    log: LogSettings = Field(default_factory=LogSettings)
