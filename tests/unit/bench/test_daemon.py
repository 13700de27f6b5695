"""What of the daemon's benchmark is pure: medians of records, differences, the tiny preset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from model.preset import find_preset
from model.weights import read_weights
from tests.bench.system import CpuTimes
from tests.bench.throughput import Throughput, task_ms, waiting_ms
from tests.bench.tiny import blank_exposure, noisy_exposure, write_tiny_preset
from worker.completeness import Verdict, check_complete
from worker.record import FileRecord, State


def record(queued: str, started: str, finished: str) -> FileRecord:
    return FileRecord(
        key=queued,
        path=Path("/in/a.fits"),
        root=Path("/in"),
        night="2026-11-24",
        state=State.DONE,
        queued_at=f"2026-11-24T23:59:{queued}Z",
        started_at=f"2026-11-24T23:59:{started}Z",
        finished_at=f"2026-11-24T23:59:{finished}Z",
    )


RECORDS = [
    record("01.000", "01.004", "01.010"),
    record("02.000", "02.001", "02.100"),
    record("03.000", "03.003", "03.015"),
]


def test_tasks_and_waiting_are_medians_of_the_records_times() -> None:
    assert task_ms(RECORDS) == 12.0
    assert waiting_ms(RECORDS) == 15.0


def test_processor_time_is_counted_from_an_earlier_moment() -> None:
    before, after = (
        CpuTimes({"watcher": 1.0, "Valkey": 2.0}),
        CpuTimes({"watcher": 1.5, "Valkey": 2}),
    )
    assert after.since(before) == {"watcher": 0.5, "Valkey": 0.0}


def test_the_rows_give_milliseconds_for_each_exposure() -> None:
    rows = Throughput(3, 0.06, {"watcher": 0.006, "Valkey": 0.003}, RECORDS).rows("skipped")
    assert [row[1] for row in rows] == ["20.0 ms", "3.0 ms", "2.00 ms", "1.00 ms", "12 ms"]
    masked = Throughput(3, 0.06, {"worker": 0.03}, RECORDS).rows("masked", network_cpu_ms=8.0)
    name = "masked: processor time of all parts without the network, each"
    assert masked[1] == [name, "2.0 ms", "<= 15 ms"]


def test_the_tiny_preset_has_one_filter_a_layer_and_all_classes(tmp_path: Path) -> None:
    write_tiny_preset(tmp_path / "tiny")
    preset = find_preset(str(tmp_path / "tiny"))
    weights = read_weights(preset)
    assert preset.card.name == "tiny"
    assert len(preset.card.classes) == weights["final_conv"].bias.size == 14
    assert {layer.bias.size for name, layer in weights.items() if name != "final_conv"} == {1}


def test_the_exposures_are_complete_and_one_is_blank(tmp_path: Path) -> None:
    for name, content in (("blank", blank_exposure()), ("noisy", noisy_exposure())):
        path = tmp_path / f"{name}.fits"
        path.write_bytes(content)
        assert check_complete(path).verdict is Verdict.COMPLETE
        assert (np.ptp(fits.getdata(path)) == 0) == (name == "blank")
