"""Messages on a real server: live before backlog, under our prefix, not lost with the bindings."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery

from settings.schema import RedisSettings, SettingsTree
from worker.celery_app import celery_settings, with_backlog

TASK = "maximaskd.mask_exposure"


@pytest.fixture
def app(valkey_url: str) -> Iterator[Celery]:
    """Make an application on the private server, with the settings that workers have."""
    app = Celery("queues", set_as_current=False)
    app.conf.update(celery_settings(SettingsTree(redis=RedisSettings(url=valkey_url))))
    yield app
    app.close()


def send(app: Celery, queue: str, name: str) -> None:
    app.send_task(TASK, args=[name], queue=queue, task_id=name)


def received(app: Celery, queues: list[str], count: int) -> list[str]:
    """Consume as a worker does: one message at a time, the next when it is acknowledged."""
    names: list[str] = []

    def take(body: Any, message: Any) -> None:
        names.append(body[0][0])
        message.ack()

    app.amqp.queues.select(with_backlog(queues))
    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(connection, callbacks=[take], accept=["json"])
        consumer.qos(prefetch_count=1)
        with consumer:
            while len(names) < count:
                connection.drain_events(timeout=20)
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.2)
    return names


def test_a_live_queue_is_read_before_its_backlog(app: Celery) -> None:
    for number in range(5):
        send(app, "cpu.backlog", f"old-{number}")
    for number in range(5):
        send(app, "cpu", f"new-{number}")
    assert received(app, ["cpu"], 10) == [
        *(f"new-{number}" for number in range(5)),
        *(f"old-{number}" for number in range(5)),
    ]


def test_both_live_queues_are_read_before_both_backlogs(app: Celery) -> None:
    for name in ("cpu.backlog", "gpu.backlog", "cpu", "gpu"):
        for number in (1, 2):
            send(app, name, f"{name}-{number}")
    assert received(app, ["gpu", "cpu"], 8) == [
        f"{name}-{number}"
        for name in ("gpu", "cpu", "gpu.backlog", "cpu.backlog")
        for number in (1, 2)
    ]


def test_a_worker_of_one_device_leaves_the_other_queues_alone(
    app: Celery, client: redis.Redis
) -> None:
    send(app, "gpu", "for-a-gpu")
    send(app, "cpu", "for-a-cpu")
    assert received(app, ["cpu"], 1) == ["for-a-cpu"]
    assert client.llen("maximask:celery:gpu") == 1


def test_all_keys_on_the_server_begin_with_our_name(app: Celery, client: redis.Redis) -> None:
    send(app, "cpu", "one")
    received(app, ["cpu"], 1)
    keys = list(client.scan_iter())
    assert keys != []
    assert [key for key in keys if not key.startswith("maximask:celery:")] == []


def test_who_sends_a_task_subscribes_to_nothing(app: Celery, client: redis.Redis) -> None:
    before = client.info("commandstats")
    for name in ("one", "two"):
        send(app, "cpu", name)
    after = client.info("commandstats")
    told = [name for name in after if "subscribe" in name and after[name] != before.get(name)]
    assert told == []


def test_a_server_that_lost_its_bindings_still_takes_messages(
    app: Celery, client: redis.Redis
) -> None:
    send(app, "cpu", "before")
    client.flushall()
    send(app, "cpu", "after")
    assert client.llen("maximask:celery:cpu") == 1


def test_a_message_for_a_misspelt_queue_is_refused(app: Celery, client: redis.Redis) -> None:
    with pytest.raises(Exception, match="cup"):
        send(app, "cup", "lost")
    assert client.keys("*cup*") == []
