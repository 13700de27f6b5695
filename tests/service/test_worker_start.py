"""How a worker starts, or says in one sentence why it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEADLINE_S = 120.0


def environment(url: str, **variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in os.environ if not name.startswith("MAXIMASKD_")}
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return kept | hidden | {"MAXIMASKD_REDIS_URL": url} | variables


def command(queues: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "worker", "worker", "-Q", queues]


def refused(url: str, queues: str, **variables: str) -> str:
    """Start a worker that must not run, and return what it said."""
    done = subprocess.run(
        command(queues),
        env=environment(url, **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@contextmanager
def running(url: str, queues: str, log: Path, **variables: str) -> Iterator[subprocess.Popen]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(queues),
            env=environment(url, REMAP_SIGTERM="SIGQUIT", **variables),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    """Ask whether a worker consumes from the server."""
    ping = [sys.executable, "-m", "celery", "-A", "worker", "inspect", "ping", "--timeout", "2"]
    done = subprocess.run(ping, env=environment(url), capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("queues", ["gpu", "gpu,cpu"])
def test_a_gpu_worker_without_a_gpu_refuses_with_what_to_do(valkey_url: str, queues: str) -> None:
    said = refused(valkey_url, queues)
    assert "no GPU is visible here" in said
    assert "-Q cpu" in said
    assert "MAXIMASKD_WORKER_ALLOW_CPU_ON_GPU_QUEUE=true" in said


def test_a_device_that_is_not_there_is_refused_on_every_queue(valkey_url: str) -> None:
    said = refused(valkey_url, "cpu", MAXIMASKD_WORKER_DEVICE="gpu")
    assert "no GPU is visible here" in said


def test_a_preset_that_does_not_exist_stops_the_worker(valkey_url: str) -> None:
    said = refused(valkey_url, "cpu", MAXIMASKD_MASK_PRESET="nosuch")
    assert said.count("There is no preset 'nosuch'") == 1


def test_a_setting_lets_the_cpu_serve_the_gpu_queue(valkey_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    allowed = {"MAXIMASKD_WORKER_ALLOW_CPU_ON_GPU_QUEUE": "true"}
    with running(valkey_url, "gpu", log, **allowed) as worker:
        end = time.monotonic() + DEADLINE_S
        while "loaded preset=" not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            assert worker.poll() is None
            time.sleep(0.2)
        said = log.read_text()
        assert "device=cpu" in said
        for queue in ("gpu", "gpu.backlog"):
            assert f".> {queue} " in said
        # Celery's own start goes on beside the loading: one that answers can stop in order.
        while not answers(valkey_url):
            assert time.monotonic() < end, log.read_text()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
