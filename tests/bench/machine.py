"""Tells what a benchmark ran on: nothing in, one line on machine, versions and commit out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path

__all__ = ["describe"]

PACKAGES = ("maximaskd", "maximask", "openvino", "tensorflow", "keras", "numpy", "astropy")


def describe() -> str:
    """
    Say what the figures hold for.

    Returns
    -------
    str
        Processor, cores, versions, commit and day.
    """
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, shared with other work; Python "
        f"{platform.python_version()}, {versions}; commit {_commit()}, "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}."
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cards = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    flags = set(cards.get("flags", "").split())
    wide = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return f"{cards.get('model name', platform.processor())} ({' '.join(wide)})"


def _commit() -> str:
    answers = [
        subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
        for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "*.py"))
    ]
    return answers[0] + (" and uncommitted changes" if answers[1] else "")
