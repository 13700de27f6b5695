"""Celery's settings follow from ours, and are read no earlier than needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.defaults import SETTING_KEYS

from settings.schema import RedisSettings, SettingsTree, StateSettings, WorkerSettings
from worker import celery_app
from worker.celery_app import celery_settings, make_app, with_backlog

SETTINGS = SettingsTree(
    redis=RedisSettings(url="redis://mountain:6379/4"),
    worker=WorkerSettings(soft_time_limit_s=100, hard_time_limit_s=120, drain_s=7.5),
)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Make an application that reads `SETTINGS`, and put the current one back afterwards."""
    monkeypatch.setattr(celery_app, "load", lambda: SETTINGS)
    yield make_app()
    celery_app.app.set_current()


def test_nothing_is_read_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def load() -> SettingsTree:
        reads.append(1)
        return SETTINGS

    monkeypatch.setattr(celery_app, "load", load)
    app = make_app()
    assert not app.configured
    assert reads == []
    assert app.conf.broker_url == "redis://mountain:6379/4"
    assert app.conf.task_time_limit == 120
    assert reads == [1]
    celery_app.app.set_current()


def test_celery_knows_every_setting_by_this_name() -> None:
    assert set(celery_settings(SETTINGS)) <= SETTING_KEYS


def test_celery_takes_every_setting_as_it_is(app: Celery) -> None:
    for name, value in celery_settings(SETTINGS).items():
        if name != "task_queues":
            assert app.conf[name] == value, name


def test_time_limits_follow_the_settings() -> None:
    values = celery_settings(SETTINGS)
    assert values["task_soft_time_limit"] == 100
    assert values["task_time_limit"] == 120
    assert values["worker_soft_shutdown_timeout"] == 7.5
    assert values["broker_transport_options"]["visibility_timeout"] == 192


def test_no_exposure_is_lost_or_taken_in_advance() -> None:
    values = celery_settings(SETTINGS)
    assert values["task_acks_late"] is values["task_reject_on_worker_lost"] is True
    assert values["worker_prefetch_multiplier"] == values["worker_concurrency"] == 1
    assert values["broker_connection_max_retries"] is None
    assert values["worker_proc_alive_timeout"] >= 120


def test_celery_keeps_no_results_beside_the_records(app: Celery) -> None:
    assert app.conf.result_backend is None
    assert app.conf.task_ignore_result is True
    assert app.backend.as_uri() == "disabled://"


def test_only_json_is_sent_and_accepted() -> None:
    values = celery_settings(SETTINGS)
    assert values["accept_content"] == ["json"]
    assert values["task_serializer"] == "json"


def test_a_socket_file_is_not_kept_alive() -> None:
    over_tcp = celery_settings(SETTINGS)
    over_file = celery_settings(SettingsTree(state=StateSettings(dir=Path("/run/maximaskd"))))
    assert over_file["broker_url"] == "redis+socket:///run/maximaskd/valkey.sock?virtual_host=0"
    assert "socket_keepalive" not in over_file["broker_transport_options"]
    assert over_tcp["broker_transport_options"]["socket_keepalive"] is True


def test_there_are_four_durable_direct_queues(app: Celery) -> None:
    queues = app.amqp.queues
    assert list(queues) == ["gpu", "cpu", "gpu.backlog", "cpu.backlog"]
    for name, queue in queues.items():
        assert queue.durable
        assert (queue.exchange.type, queue.routing_key) == ("direct", name)
    assert app.amqp.default_queue.name == "cpu"


def test_a_misspelt_queue_is_refused(app: Celery) -> None:
    with pytest.raises(KeyError, match="gup"):
        app.amqp.queues.select(["gup"])


@pytest.mark.parametrize(
    ("asked", "consumed"),
    [
        (["cpu"], ["cpu", "cpu.backlog"]),
        (["gpu", "cpu"], ["gpu", "cpu", "gpu.backlog", "cpu.backlog"]),
        (["cpu", "gpu"], ["cpu", "gpu", "cpu.backlog", "gpu.backlog"]),
        (["cpu.backlog"], ["cpu.backlog"]),
        (["gpu.backlog", "cpu"], ["cpu", "cpu.backlog", "gpu.backlog"]),
        (["another"], ["another"]),
    ],
)
def test_backlogs_come_after_live_queues(asked: list[str], consumed: list[str]) -> None:
    assert with_backlog(asked) == consumed


def test_a_worker_consumes_the_backlog_of_its_queues(app: Celery) -> None:
    app.amqp.queues.select(["cpu"])
    worker = SimpleNamespace(app=app)
    signals.celeryd_after_setup.send(sender="host", instance=worker, conf=app.conf)
    assert list(app.amqp.queues.consume_from) == ["cpu", "cpu.backlog"]


def test_a_worker_logs_in_our_format(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[str] = []
    monkeypatch.setattr(celery_app, "load", lambda: SETTINGS)
    monkeypatch.setattr(celery_app.logs, "configure", levels.append)
    arguments: dict[str, Any] = {"loglevel": logging.DEBUG, "logfile": None}
    assert signals.setup_logging.send(sender=None, **arguments) != []
    assert levels == ["INFO"]
