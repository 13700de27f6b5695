"""Finding GPUs without starting TensorFlow here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model import engine
from model.engine import Device, count_gpus


def test_a_machine_without_gpu_devices_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("no child process is needed")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(engine, "DEVICES", tmp_path)
    monkeypatch.setattr(subprocess, "run", never)
    assert count_gpus() == 0


def test_where_there_may_be_one_a_child_process_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(engine, "DEVICES", tmp_path)
    monkeypatch.setattr(engine, "_COUNT_PROGRAM", "print('chatter'); print(2)")
    assert count_gpus() == 2


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "pass", "print('many')"])
def test_a_machine_that_cannot_tell_counts_as_one_without(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kfd").touch()
    monkeypatch.setattr(engine, "DEVICES", tmp_path)
    monkeypatch.setattr(engine, "_COUNT_PROGRAM", program)
    assert count_gpus() == 0


def test_the_child_process_answers_with_what_the_backend_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(engine, "DEVICES", tmp_path)
    assert count_gpus() == engine.gpus_here()


def test_the_memory_of_each_gpu_grows_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    growing: list[tuple[str, bool]] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: ["GPU:0", "GPU:1"])
    monkeypatch.setattr(
        tf.config.experimental,
        "set_memory_growth",
        lambda gpu, *, enable: growing.append((gpu, enable)),
    )
    assert engine._prepare(Device.AUTO, 0) is Device.GPU
    assert growing == [("GPU:0", True), ("GPU:1", True)]


def test_the_cpu_hides_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    hidden: list[tuple[list[object], str]] = []
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda devices, kind: hidden.append((devices, kind))
    )
    assert engine._prepare(Device.CPU, 0) is Device.CPU
    assert hidden == [([], "GPU")]
