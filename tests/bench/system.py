"""Runs the daemon's own parts beside a benchmark: a folder in, server, worker and watcher out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from watcher.child import WorkerChild
from watcher.server import embedded_server
from worker.connection import connect
from worker.status import Status

__all__ = ["CpuTimes", "System", "environment", "start_system", "wait_until"]

#: The repository: its code runs in all processes, whatever is installed.
REPOSITORY = Path(__file__).parents[2]
#: Seconds between two looks at whether something has come about.
LOOK_S = 0.01
#: Seconds that a part may take to start.
START_TIMEOUT_S = 180.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CpuTimes:
    """
    Seconds of processor time that each part has used so far.

    Parameters
    ----------
    by_part : mapping of str to float
        Seconds by the names of the parts.
    """

    by_part: Mapping[str, float]

    def since(self, before: CpuTimes) -> dict[str, float]:
        """
        Return what was used since an earlier moment.

        Parameters
        ----------
        before : CpuTimes
            What had been used by then.

        Returns
        -------
        dict of str to float
            Seconds by the names of the parts.
        """
        return {name: used - before.by_part[name] for name, used in self.by_part.items()}


@dataclass(frozen=True)
class System:
    """
    A running system.

    Parameters
    ----------
    incoming : Path
        The watched root.
    status : Status
        The records.
    variables : mapping of str to str
        The environment of its processes.
    worker_s : float
        Seconds from the start of the worker's process until its network was loaded and warm.
    worker_pid, watcher_pid : int
        Its processes.
    """

    incoming: Path
    status: Status
    variables: Mapping[str, str]
    worker_s: float
    worker_pid: int
    watcher_pid: int

    def cpu_times(self) -> CpuTimes:
        """
        Ask the kernel how much processor time each part has used.

        Returns
        -------
        CpuTimes
            Of the watcher, of the worker's parent, of the process that masks, and of the server.
        """
        server = cast("dict[str, float]", self.status.client.info("cpu"))
        return CpuTimes(
            {
                "watcher": _cpu_s(self.watcher_pid),
                "worker, Celery's parent": _cpu_s(self.worker_pid),
                "worker, process of the task": sum(map(_cpu_s, _children(self.worker_pid))),
                "Valkey": server["used_cpu_sys"] + server["used_cpu_user"],
            }
        )


def environment(**variables: str) -> dict[str, str]:
    """
    Return this process's environment, without its settings.

    Parameters
    ----------
    **variables : str
        What is set in it.

    Returns
    -------
    dict of str to str
        For a process that runs the repository's code.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MAXIMASKD_")}
    own = {"PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return kept | own | variables


@contextmanager
def start_system(home: Path, **variables: str) -> Iterator[System]:
    """
    Start a server, a worker and a watcher as processes of their own.

    Parameters
    ----------
    home : Path
        A folder for everything; made if it does not exist.
    **variables : str
        Settings beside those that name the places.

    Yields
    ------
    System
        Warm, its root empty.
    """
    incoming, state = home / "incoming", home / "state"
    incoming.mkdir(parents=True)
    with ExitStack() as stack:
        url = stack.enter_context(embedded_server(state))
        own = environment(
            MAXIMASKD_REDIS_URL=url,
            MAXIMASKD_STATE_DIR=str(state),
            MAXIMASKD_ROOT_DIRECTORIES=json.dumps([str(incoming)]),
            **variables,
        )
        log = home / "worker.log"
        worker = WorkerChild("cpu", environment=own, log_path=log, drain_s=30.0)
        started = time.perf_counter()
        stack.callback(worker.stop)
        worker.start()
        wait_until(lambda: _says(log, "loaded preset="), START_TIMEOUT_S)
        worker_s = time.perf_counter() - started
        watcher = stack.enter_context(_watcher(home / "watcher.log", own))
        wait_until(lambda: _says(home / "watcher.log", "swept roots="), START_TIMEOUT_S)
        status = Status(stack.enter_context(connect(url)))
        yield System(incoming, status, own, worker_s, worker.pid or 0, watcher.pid)


def wait_until(what: Callable[[], object], timeout_s: float) -> None:
    """
    Look until something has come about.

    Parameters
    ----------
    what : callable
        True once it has.
    timeout_s : float
        Seconds after which it is given up.

    Raises
    ------
    TimeoutError
        Where it has not.
    """
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"Not within {timeout_s:g} s: {what}.")
        time.sleep(LOOK_S)


@contextmanager
def _watcher(log: Path, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "watcher.cli", "watch"],
            env=variables,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _says(log: Path, words: str) -> bool:
    return words in log.read_text(encoding="utf-8", errors="replace")


def _cpu_s(pid: int) -> float:
    # After the command's name in brackets, which may hold spaces: the 12th and 13th field are the
    # ticks in user and in system mode (proc(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
