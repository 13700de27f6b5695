"""A file in, a mask file out: the Celery application and the task it runs."""

from __future__ import annotations

from typing import Any

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    """Build `app` when it is first asked for, so that `import worker` loads no Celery."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from worker.celery_app import app

    return app
