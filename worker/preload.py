"""What a worker's process holds before its first task: the settings, the loaded masker, the status.

TensorFlow is never imported in the worker's parent process: it forks, and what TensorFlow and CUDA
have started does not survive a fork.
"""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import redis
from celery import signals
from celery.worker import state as celery_state

from model.engine import Device, EngineName, Precision, count_gpus
from model.preset import read_card
from model.probability import make_recipe
from model.tiles import TilePlan
from settings.errors import MaximaskdError
from settings.logs import get_logger
from settings.sources import Settings, load
from worker.class_files import Configurations
from worker.connection import connect, redis_url
from worker.lease import owner_name
from worker.status import State, Status
from worker.variants import Variant, Variants

if TYPE_CHECKING:
    from model.masker import Masker
    from model.tracking import Tracker

__all__ = ["Preloaded", "here", "released", "wants_gpu"]

logger = get_logger(__name__)

#: Exit status of a worker that cannot do its work.
EXIT_UNFIT = 1
#: What a process that cannot load the network sends to its worker.
UNFIT_SIGNAL = signal.SIGUSR2
#: Seconds that the worker has to begin its stop, in which no process is replaced.
GIVE_UP_S = 3.0
#: Distributions whose versions stand in the header of each mask.
DISTRIBUTIONS = ("maximaskd", "openvino", "tensorflow", "keras", "astropy", "numpy")


@dataclass(frozen=True)
class Preloaded:
    """
    What a worker's process needs for every exposure.

    Parameters
    ----------
    settings : Settings
        The settings.
    masker : Masker
        The network, loaded and warmed up.
    tracker : Tracker or None
        The network for tracking errors, where the settings ask for them.
    configurations : Configurations
        What decides about the masks of the exposures in each directory.
    status : Status
        The records of all files.
    owner : str
        This process, as the owner of leases.
    versions : mapping of str to str
        Versions by distribution.
    variants : Variants
        What else tasks have asked for.
    """

    settings: Settings
    masker: Masker
    tracker: Tracker | None
    configurations: Configurations
    status: Status
    owner: str
    versions: Mapping[str, str]
    variants: Variants

    @property
    def own(self) -> Variant:
        """What masks an exposure whose task asks for nothing beyond the settings."""
        return Variant(self.settings.mask, self.configurations, self.masker, self.tracker)

    @classmethod
    def load(cls, *, device: Device, worker_pid: int) -> Preloaded:
        """
        Load everything.

        Parameters
        ----------
        device : Device
            Where the network runs.
        worker_pid : int
            Process number of the worker that this process belongs to.

        Returns
        -------
        Preloaded
            All of it.

        Raises
        ------
        MaximaskdError
            Where a setting, the preset or the device is not usable.
        """
        settings = load()
        card = read_card(settings.mask.preset)
        make_recipe(card, settings.mask)
        from model.masker import Masker
        from model.tracking import Tracker

        worker = settings.worker

        def load_masker(preset: str) -> Masker:
            return Masker(
                preset,
                engine=EngineName(worker.engine),
                device=device,
                precision=Precision(worker.precision),
                threads=worker.threads,
                batch_size=worker.batch_size,
            )

        def load_tracker() -> Tracker:
            return Tracker(device=device, threads=worker.threads)

        return cls(
            settings=settings,
            masker=load_masker(settings.mask.preset),
            tracker=load_tracker() if settings.mask.track else None,
            configurations=Configurations(settings.mask, card),
            status=Status(connect(redis_url(settings))),
            owner=owner_name(worker_pid),
            versions={name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
            variants=Variants(load_masker, load_tracker),
        )


class _Process:
    """What this process knows: set in the parent before it forks, or in the child after."""

    device = Device.CPU
    preloaded: Preloaded | None = None


def here() -> Preloaded:
    """
    Return what this process has loaded.

    Returns
    -------
    Preloaded
        All of it.

    Raises
    ------
    RuntimeError
        Where this is no process of a worker's pool.
    """
    if _Process.preloaded is None:
        raise RuntimeError("this process has loaded nothing: start it as `celery -A worker worker`")
    return _Process.preloaded


def wants_gpu(queues: list[str], settings: Settings) -> bool:
    """
    Tell whether a worker is to run on a GPU.

    Parameters
    ----------
    queues : list of str
        The queues that it consumes.
    settings : Settings
        The settings.

    Returns
    -------
    bool
        True where the device is `gpu`, or left open and `gpu` is consumed.
    """
    device = Device(settings.worker.device)
    return device is Device.GPU or (device is Device.AUTO and "gpu" in queues)


def released(status: Status, worker_pid: int) -> int:
    """
    Hand back what the ended processes of a worker had begun; those attempts do not count.

    Parameters
    ----------
    status : Status
        The records of all files.
    worker_pid : int
        Process number of the worker.

    Returns
    -------
    int
        How many exposures.
    """
    prefix = owner_name(worker_pid).rpartition(":")[0] + ":"
    running = status.records(state=State.RUNNING)
    return sum(
        status.release(record.key, record.owner)
        for record in running
        if record.owner.startswith(prefix)
    )


@signals.celeryd_after_setup.connect(weak=False)  # type: ignore[untyped-decorator]
def _choose_device(instance: Any, **_: Any) -> None:
    """Refuse to start a worker that would make others wait for a GPU which is not there."""
    signal.signal(UNFIT_SIGNAL, _stop_unfit)
    settings = load()
    queues = list(instance.app.amqp.queues.consume_from)
    if not wants_gpu(queues, settings):
        return
    if count_gpus():
        _Process.device = Device.GPU
    elif settings.worker.device == "gpu" or not settings.worker.allow_cpu_on_gpu_queue:
        sys.stderr.write(
            "This worker consumes the queue gpu, but no GPU is visible here: check the driver and "
            "CUDA_VISIBLE_DEVICES, install maximaskd[gpu], consume cpu instead (-Q cpu), or set "
            "MAXIMASKD_WORKER_ALLOW_CPU_ON_GPU_QUEUE=true.\n"
        )
        raise SystemExit(EXIT_UNFIT)


@signals.worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _preload(**_: Any) -> None:
    """Load the network, or stop the worker: new processes would fail in the same way."""
    try:
        _Process.preloaded = Preloaded.load(device=_Process.device, worker_pid=os.getppid())
    except MaximaskdError as error:
        _give_up(str(error))
    except Exception as error:
        logger.exception("loading failed")
        _give_up(f"The network could not be loaded ({error!r}): see the log above.")
    else:
        loaded = _Process.preloaded
        logger.info(
            "loaded preset=%s device=%s engine=%s",
            loaded.masker.card.name,
            loaded.masker.device,
            loaded.masker.engine_name(TilePlan(loaded.settings.mask.tiles)),
        )


def _give_up(reason: str) -> None:
    logger.error("unfit reason=%s", reason)
    os.kill(os.getppid(), UNFIT_SIGNAL)
    # A process that ended before the worker has begun to stop would be replaced.
    time.sleep(GIVE_UP_S)
    os._exit(EXIT_UNFIT)


def _stop_unfit(_number: int, _frame: FrameType | None) -> None:
    celery_state.should_stop = EXIT_UNFIT


@signals.worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
def _hand_back(**_: Any) -> None:
    """Give back what a stopping worker had to break off; its messages are back in the queue."""
    try:
        n_released = released(Status(connect(redis_url(load()))), os.getpid())
    except redis.RedisError as error:
        # Their leases end by themselves.
        logger.warning("nothing released reason=%s", error)
        return
    if n_released:
        logger.info("released exposures=%d", n_released)
