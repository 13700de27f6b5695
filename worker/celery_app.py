"""The Celery application: our settings in, Celery's out, read when first asked for.

Nothing is read or connected at import. `REMAP_SIGTERM=SIGQUIT` has to stand in the environment of
a worker before Celery is imported, hence it is set by what starts the worker and not here: with it,
SIGTERM gives the running exposure `worker.drain_s` seconds and then hands it back to the queue;
without it, SIGTERM waits for as long as the exposure takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery, signals
from kombu.entity import Exchange, Queue

from settings import logs
from settings.schema import SettingsTree
from settings.sources import load
from worker.connection import HEALTH_CHECK_S, SOCKET_TIMEOUT_S, broker_url, redis_url

__all__ = [
    "BACKLOG_SUFFIX",
    "QUEUES",
    "TASK_NAME",
    "app",
    "celery_settings",
    "make_app",
    "visibility_timeout_s",
    "with_backlog",
]

#: Name of the one task; who sends it need not load what runs it.
TASK_NAME = "maximaskd.mask_exposure"
#: Queues of new exposures, in the order in which a worker that consumes both reads them.
LIVE_QUEUES = ("gpu", "cpu")
BACKLOG_SUFFIX = ".backlog"
#: All queues; those of catch-up work come after all live ones.
QUEUES = (*LIVE_QUEUES, *(name + BACKLOG_SUFFIX for name in LIVE_QUEUES))

#: Before Celery's own keys, so that all that is ours begins with `maximask:`.
KEY_PREFIX = "maximask:celery:"
#: Seconds that loading and warming up the network may take in a new process. Celery's 4 seconds
#: would kill each new process before it is ready, for ever.
PROCESS_START_S = 180.0
#: The longest an exposure may take, times this: see `visibility_timeout_s`.
VISIBILITY_FACTOR = 1.6


def visibility_timeout_s(settings: SettingsTree) -> int:
    """
    Return after how long the server gives the message of a silent worker to another one.

    Parameters
    ----------
    settings : SettingsTree
        The settings.

    Returns
    -------
    int
        Seconds: longer than any exposure may take, or two workers would mask one at once.
    """
    return round(VISIBILITY_FACTOR * settings.worker.hard_time_limit_s)


def celery_settings(settings: SettingsTree) -> dict[str, Any]:
    """
    Translate our settings into Celery's.

    Parameters
    ----------
    settings : SettingsTree
        The settings.

    Returns
    -------
    dict
        Celery's settings by their lower-case names.
    """
    url = broker_url(redis_url(settings))
    # A half-open TCP connection is noticed in a minute; a socket file has none to keep alive.
    keepalive = {} if url.startswith("redis+socket://") else {"socket_keepalive": True}
    return {
        "broker_url": url,
        # What became of an exposure stands in its record (`worker.status`). Celery's own results
        # would cost time in every task, and whoever sends a task a subscription
        # whose answers nobody reads: the server would keep them until its buffer is full.
        "result_backend": None,
        "task_ignore_result": True,
        # A server that restarts is waited for, for ever, at the start as later on.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": visibility_timeout_s(settings),
            "global_keyprefix": KEY_PREFIX,
            # Queues are read in the order in which they are consumed: live before backlog, always.
            "queue_order_strategy": "priority",
            # No priorities within a queue, so that the order above is the only one.
            "priority_steps": [0],
            # Look each 10 seconds for messages whose worker fell silent.
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            # Without a limit, a connection that died silently blocks the worker for ever.
            "socket_timeout": SOCKET_TIMEOUT_S,
            "health_check_interval": HEALTH_CHECK_S,
            **keepalive,
        },
        # No pickles: who can write to the server must not be able to run code here.
        "task_serializer": "json",
        "accept_content": ["json"],
        # A misspelt queue is refused, instead of filling up where nobody reads.
        "task_queues": [_queue(name) for name in QUEUES],
        "task_create_missing_queues": False,
        "task_default_queue": settings.watch.queue,
        # The message leaves the queue when the exposure is done, not when it is begun, and comes
        # back when its process is killed. What kills each process is stopped by `Status.begin`.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # The soft limit lets the task write why; the hard one ends what does not listen.
        "task_soft_time_limit": settings.worker.soft_time_limit_s,
        "task_time_limit": settings.worker.hard_time_limit_s,
        # One network a device, in a process of its own, so that limits and pings work while it
        # computes. Nothing is taken in advance: what waits is free for other workers.
        "worker_pool": "prefork",
        "worker_concurrency": 1,
        "worker_prefetch_multiplier": 1,
        "worker_proc_alive_timeout": PROCESS_START_S,
        # A new process would load the network anew.
        "worker_max_tasks_per_child": None,
        # A stopping worker gives the running exposure this long before it is handed back.
        "worker_soft_shutdown_timeout": settings.worker.drain_s,
        "worker_enable_soft_shutdown_on_idle": False,
        # The connection may fail while an exposure is masked: the mask on disk counts.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # One log format, that of `settings.logs`.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def with_backlog(names: Iterable[str]) -> list[str]:
    """
    Put the backlog of each queue after all live queues.

    Parameters
    ----------
    names : iterable of str
        The queues that a worker was told to consume.

    Returns
    -------
    list of str
        The live ones, then their backlogs, then other backlogs that were named; nothing twice.

    Examples
    --------
    >>> with_backlog(["gpu", "cpu"])
    ['gpu', 'cpu', 'gpu.backlog', 'cpu.backlog']
    """
    names = list(names)
    live = [name for name in names if not name.endswith(BACKLOG_SUFFIX)]
    backlog = [name + BACKLOG_SUFFIX for name in live]
    return list(dict.fromkeys([*live, *(name for name in backlog if name in QUEUES), *names]))


def make_app() -> Celery:
    """
    Make the application; settings are read when it first needs one.

    Returns
    -------
    Celery
        The application.
    """
    app = Celery("maximaskd", include=["worker.tasks"])
    app.add_defaults(lambda: celery_settings(load()))
    return app


def _queue(name: str) -> Any:
    return Queue(name, Exchange(name, "direct"), name)  # type: ignore[no-untyped-call]


@signals.celeryd_after_setup.connect(weak=False)  # type: ignore[untyped-decorator]
def _consume_backlog(instance: Any, **_: Any) -> None:
    queues = instance.app.amqp.queues
    queues.select(with_backlog(queues.consume_from))


@signals.setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
def _configure_logs(**_: Any) -> None:
    logs.configure(load().log.level)


app = make_app()
