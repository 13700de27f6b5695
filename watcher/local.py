"""The one-machine mode: directories in, a night with server, watcher, worker and live table out."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import redis
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from model.engine import count_gpus
from settings.errors import MaximaskdError
from settings.logs import get_logger
from settings.sources import PREFIX, Settings, load
from watcher.assembly import make_intake
from watcher.child import WorkerChild
from watcher.loop import Watcher
from watcher.server import embedded_server
from watcher.table import live_view
from worker.connection import connect, ping, redis_url
from worker.preload import released
from worker.status import Status

__all__ = ["run_night"]

logger = get_logger(__name__)

#: Seconds between two looks at the records.
REFRESH_S = 0.5
#: Lines of a terminal that are not rows of the table.
OTHER_LINES = 12
MIN_ROWS = 3
#: The night before the running one is shown as well: its last files may still be at work.
NIGHTS_SHOWN = 2
WORKER_LOG = "worker.log"


class WatcherEndedError(MaximaskdError):
    """The watcher's thread came to an end that nobody asked for."""


def run_night(
    settings: Settings,
    flags: Mapping[str, Mapping[str, Any]],
    stop: threading.Event,
    console: Console,
) -> None:
    """
    Run everything on this machine until told to stop.

    Parameters
    ----------
    settings : Settings
        The settings, with the directories to watch.
    flags : mapping
        What the command line said, to be said to the worker too.
    stop : threading.Event
        Set by whoever wants the night to end.
    console : rich.console.Console
        Where the table is shown; without a terminal, the log alone tells what happens.

    Raises
    ------
    MaximaskdError
        Where a part cannot run; all others have been stopped then.
    """
    settings.state.dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if settings.redis.url is None:
            url = stack.enter_context(embedded_server(settings.state.dir))
        else:
            url = redis_url(settings)
        client = connect(url)
        stack.callback(client.close)
        ping(client, url)
        status = Status(client)
        flags = {**flags, "redis": {"url": url}}
        queue = settings.watch.queue
        if settings.worker.device != "cpu" and queue == "cpu" and count_gpus():
            queue = "gpu"
        settings = load(flags={**flags, "watch": {**flags.get("watch", {}), "queue": queue}})
        child = WorkerChild(
            queue,
            environment=_as_environment(flags),
            log_path=settings.state.dir / WORKER_LOG,
            drain_s=settings.worker.drain_s,
        )
        # What stops last is given first: the server, then the worker, then the watcher.
        stack.callback(_stop_worker, child, status)
        child.start()
        watching = stack.enter_context(_Watching(Watcher(settings, make_intake(settings, status))))
        with _Display(status, settings.root.directories, console) as display:
            while not stop.wait(REFRESH_S):
                child.ensure()
                watching.check()
                display.refresh()


def _as_environment(flags: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Spell flags as variables, for the worker's own reading of the settings."""
    return {
        f"{PREFIX}{concern}_{field}".upper(): value
        if isinstance(value, str)
        else json.dumps(value, default=os.fspath)
        for concern, fields in flags.items()
        for field, value in fields.items()
    }


class _Watching:
    """The watcher in a thread of its own, and what ended it."""

    def __init__(self, watcher: Watcher) -> None:
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(watcher,), name="watcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise where the watcher has ended by itself."""
        if self._error is not None:
            raise WatcherEndedError(
                f"The watcher ended unexpectedly ({self._error!r}): report it with watcher.log."
            ) from self._error

    def _run(self, watcher: Watcher) -> None:
        try:
            watcher.run(self._stop)
        except Exception as error:
            logger.exception("watcher ended")
            self._error = error


def _stop_worker(child: WorkerChild, status: Status) -> None:
    child.stop()
    if child.pid is not None:
        released(status, child.pid)


class _Display:
    """The live table; without a terminal, nothing: the log tells what happens."""

    def __init__(self, status: Status, roots: Sequence[Path], console: Console) -> None:
        self._status, self._roots, self._console = status, roots, console
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def refresh(self) -> None:
        if self._console.is_terminal:
            self._live.update(self._view(), refresh=True)

    def _view(self) -> RenderableType:
        try:
            records = [
                record
                for night in self._status.nights()[-NIGHTS_SHOWN:]
                for record in self._status.night(night)
            ]
        except redis.RedisError as error:
            return Text(f"The status server does not answer ({error}): waiting.", style="red")
        missing = [str(root) for root in self._roots if not root.is_dir()]
        note = "Ctrl-C: finish or hand back the running exposure, then end."
        return live_view(
            records,
            title=f"maximaskd watches {', '.join(str(root) for root in self._roots)}",
            n_rows=max(self._console.size.height - OTHER_LINES, MIN_ROWS),
            note=f"Waiting for {', '.join(missing)} to appear. {note}" if missing else note,
        )
