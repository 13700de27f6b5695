"""The table of the night."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console, RenderableType

from watcher.table import files_table, live_view, summary
from worker.status import FileRecord, State

ROOT = Path("/data/incoming")


def record(name: str, state: State, **fields: object) -> FileRecord:
    return FileRecord(
        key=name, path=ROOT / name, root=ROOT, night="2026-11-23", state=state, **fields
    )


def shown(view: RenderableType) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def test_a_done_file_shows_times_and_its_largest_classes() -> None:
    text = shown(
        files_table(
            [
                record(
                    "ü [1].fits",
                    State.DONE,
                    seen_at="2026-11-23T01:02:03.004Z",
                    finished_at="2026-11-23T01:02:33.004Z",
                    seconds=3.21,
                    mpix=4.2,
                    fractions={"BG": 0.9, "CR": 0.001, "TRL": 0.02, "FR": 0.0},
                )
            ]
        )
    )
    row = next(line for line in text.splitlines() if "ü [1].fits" in line)
    for part in ("done", "01:02:03", "01:02:33", "3.2", "4.2", "BG 90 %  TRL 2 %  CR 0.1 %"):
        assert part in row
    assert "FR" not in row


def test_a_failed_file_shows_its_reason() -> None:
    text = shown(files_table([record("a.fits", State.FAILED, reason="It is not FITS.")]))
    assert "It is not FITS." in text


def test_a_name_that_is_not_utf8_can_be_shown() -> None:
    assert "a\ufffd.fits" in shown(files_table([record("a\udcff.fits", State.QUEUED)]))


def test_the_one_hdu_that_was_asked_for_is_shown() -> None:
    assert "a.fits[2]" in shown(files_table([record("a.fits", State.QUEUED, hdu=2)]))


def test_the_summary_counts_by_state() -> None:
    records = [record(str(n), State.DONE) for n in range(3)] + [record("x", State.FAILED)]
    assert summary(records).plain.split() == ["3", "done", "1", "failed"]
    assert summary([]).plain == "no files yet"


def test_the_live_view_keeps_the_running_exposure_with_its_bar() -> None:
    records = [record(f"{n:03}.fits", State.DONE) for n in range(50)]
    running = record("now.fits", State.RUNNING, hdus=4, hdus_done=1, mpix=8.0, mpix_done=2.0)
    text = shown(live_view([running, *records], title="tonight", n_rows=10, note="the end"))
    assert "now.fits" in text
    assert "25 %" in text
    assert "HDU 1 of 4" in text
    assert "049.fits" in text
    assert "040.fits" not in text
    assert "41 earlier files" in text
    assert text.rstrip().endswith("the end")


def test_a_running_exposure_without_planes_yet_is_being_read() -> None:
    assert "reading" in shown(live_view([record("a.fits", State.RUNNING)], title="", n_rows=5))


def test_what_was_asked_for_by_hand_is_told_apart() -> None:
    elsewhere = {"output_dir": "/masks"}
    text = shown(files_table([record("a.fits", State.DONE, hdu=2, options=elsewhere)]))
    assert "a.fits[2] -> /masks" in text
