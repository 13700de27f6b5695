"""The one log format: configured by the command line and by Celery's `setup_logging` alone."""

from __future__ import annotations

import logging
import time

__all__ = ["configure", "get_logger"]

ROOT = "maximaskd"
FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s %(message)s"
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"


def get_logger(module: str) -> logging.Logger:
    """
    Return the logger of a module, below the root `maximaskd`.

    Parameters
    ----------
    module : str
        The module's `__name__`.

    Returns
    -------
    logging.Logger
        The logger `maximaskd.<module>`.
    """
    return logging.getLogger(f"{ROOT}.{module}")


def configure(level: str = "INFO", *, handler: logging.Handler | None = None) -> None:
    """
    Send every record to one handler in the one format, with times in UTC.

    Parameters
    ----------
    level : str, optional
        The lowest level of maximaskd's own records; libraries speak from WARNING on.
    handler : logging.Handler, optional
        Where the records go; standard error if not given.
    """
    formatter = logging.Formatter(FORMAT, DATE_FORMAT)
    formatter.converter = time.gmtime
    handler = handler or logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level)
