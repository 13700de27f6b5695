"""Choosing an engine, and finding GPUs without starting TensorFlow here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model import engine
from model.engine import Device, DeviceError, EngineName, Precision, count_gpus, make_engine
from model.keras_engine import prepare
from model.openvino_engine import OpenVinoEngine
from model.preset import find_preset
from model.weights import Weights, read_weights


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
    assert prepare(Device.AUTO, 0) is Device.GPU
    assert growing == [("GPU:0", True), ("GPU:1", True)]


def test_the_cpu_hides_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    hidden: list[tuple[list[object], str]] = []
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda devices, kind: hidden.append((devices, kind))
    )
    assert prepare(Device.CPU, 0) is Device.CPU
    assert hidden == [([], "GPU")]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return read_weights(find_preset("maximask-1.4"))


def test_on_the_cpu_the_fastest_engine_runs(weights: Weights) -> None:
    chosen = make_engine(weights, device=Device.CPU)
    assert chosen.name.startswith("openvino 20")
    assert chosen.device is Device.CPU


def test_without_openvino_keras_runs(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda _name: None)
    assert make_engine(weights, device=Device.CPU).name.startswith("tensorflow 2.")


def test_where_a_gpu_is_visible_keras_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_may_have_gpu", lambda: True)
    for gpus, expected in ((1, EngineName.KERAS), (0, EngineName.OPENVINO)):
        monkeypatch.setattr(engine, "gpus_here", lambda gpus=gpus: gpus)
        assert engine._fastest(Device.AUTO) is expected
        assert engine._fastest(Device.CPU) is EngineName.OPENVINO
        assert engine._fastest(Device.GPU) is EngineName.KERAS


def test_openvino_on_a_gpu_is_refused_with_what_to_do(weights: Weights) -> None:
    with pytest.raises(DeviceError, match=r"runs on the CPU here: set worker\.engine to `keras`"):
        make_engine(weights, name=EngineName.OPENVINO, device=Device.GPU)


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_for_processors_that_multiply_in_it(
    native: bool, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.openvino_engine.multiplies_in_bfloat16", lambda _core: native)
    fastest = OpenVinoEngine(weights, precision=Precision.AUTO)
    assert fastest.precision is (Precision.BFLOAT16 if native else Precision.FLOAT32)
    assert fastest.name.endswith(f" {fastest.precision}")
    assert OpenVinoEngine(weights, precision=Precision.FLOAT32).precision is Precision.FLOAT32
    if not native:
        with pytest.raises(DeviceError, match=r"set worker\.precision to `auto` or `float32`"):
            OpenVinoEngine(weights, precision=Precision.BFLOAT16)


def test_openvino_needs_no_tensorflow() -> None:
    program = (
        "import sys; from model.engine import Device; from model.masker import Masker; "
        "from model.tiles import TilePlan; "
        "print(Masker(device=Device.CPU).engine_name(TilePlan.WIDE), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("openvino ")
    assert done.stdout.endswith(" False\n")
