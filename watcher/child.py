"""The worker that `up` runs: an environment and a queue in, a process that can be drained out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from settings.errors import PermanentError
from settings.logs import get_logger

__all__ = ["WorkerChild", "WorkerUnfitError"]

logger = get_logger(__name__)

#: Seconds that a worker gets, beyond the time for its exposure, to end its processes.
STOP_GRACE_S = 20.0
#: A worker that ends sooner after its start than this, in seconds, is not started again at once.
UNFIT_S = 60.0


class WorkerUnfitError(PermanentError):
    """The worker cannot do its work."""


class WorkerChild:
    """
    A Celery worker in a session of its own.

    Parameters
    ----------
    queue : str
        The queue that it consumes: `cpu` or `gpu`.
    environment : mapping of str to str
        Settings for it, beside those of this process.
    log_path : Path
        Where its output goes.
    drain_s : float
        Seconds that it gives a running exposure when it is stopped.
    """

    def __init__(
        self, queue: str, *, environment: Mapping[str, str], log_path: Path, drain_s: float
    ) -> None:
        self._command = [
            sys.executable, "-m", "celery", "-A", "worker", "--quiet", "worker",
            "-Q", queue, "-n", f"{queue}-{os.getpid()}@%h",
        ]  # fmt: skip
        # With REMAP_SIGTERM a stop hands the exposure back when `drain_s` is over (celery_app.py).
        self._environment = {**os.environ, **environment, "REMAP_SIGTERM": "SIGQUIT"}
        self._log_path, self._drain_s = log_path, drain_s
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """Process number of the worker, None before its start."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the worker."""
        with self._log_path.open("ab") as log:
            self._log_start = log.tell()
            # A session of its own: Ctrl-C in the terminal must not break off the exposure.
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started = time.monotonic()
        logger.info("started worker=%d log=%s", self._process.pid, self._log_path)

    def ensure(self) -> None:
        """
        Start the worker again where it has ended.

        Raises
        ------
        WorkerUnfitError
            Where it has ended right after its start: it would end again.
        """
        if self._process is None or self._process.poll() is None:
            return
        status = self._process.returncode
        if time.monotonic() - self._started < UNFIT_S:
            raise WorkerUnfitError(
                f"The worker ended right after its start, with status {status}: {self._reason()} "
                f"The whole log is {self._log_path}."
            )
        logger.warning("worker ended status=%d; starting another", status)
        self.start()

    def stop(self) -> None:
        """Let the worker finish or hand back its exposure, and end it with all its processes."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(self._drain_s + STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                logger.warning("worker did not end, killing it worker=%d", self._process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        logger.info("stopped worker=%d", self._process.pid)

    def _reason(self) -> str:
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode("utf-8", "replace").splitlines()
        told = [line for line in lines if "reason=" in line or "This worker" in line]
        last = (told or lines or ["it said nothing."])[-1]
        return last.partition("reason=")[2] or last
