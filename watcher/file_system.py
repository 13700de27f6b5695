"""Says of a path on which file system it lies, and whether that one tells of all changes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["file_system_type", "tells_of_changes"]

MOUNTINFO = Path("/proc/self/mountinfo")
#: File systems that other machines, or the host of a virtual one, write to: this kernel then has no
#: event to tell. An `autofs` is a share that is not mounted yet; `fuseblk` is a local disk.
SILENT_TYPES = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb2",
            "smb3",
            "smbfs",
            "ncpfs",
            "afs",
            "davfs",
            "autofs",
            "fuse",
        ),
        *("beegfs", "ceph", "gfs2", "glusterfs", "gpfs", "lustre", "ocfs2", "orangefs", "panfs"),
        *("9p", "drvfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs"),
    }
)
SILENT_PREFIX = "fuse."


def file_system_type(path: Path, mountinfo_text: str | None = None) -> str:
    """
    Return the type of the file system that holds a path.

    Parameters
    ----------
    path : Path
        An absolute path without symbolic links; it need not exist.
    mountinfo_text : str, optional
        What to read it from, in the form of Linux's `/proc/self/mountinfo`, which is the default.

    Returns
    -------
    str
        Such as `ext4` or `nfs4`; empty where the system does not tell.

    References
    ----------
    The manual page proc_pid_mountinfo(5).
    """
    text = _read_mountinfo() if mountinfo_text is None else mountinfo_text
    longest, found = -1, ""
    for mount_point, kind in _mounts(text):
        depth = len(mount_point.parts)
        # Of two mounts at one place the later one lies on top.
        if path.is_relative_to(mount_point) and depth >= longest:
            longest, found = depth, kind
    return found


def tells_of_changes(path: Path, *, below: bool, mountinfo_text: str | None = None) -> bool:
    """
    Say whether the kernel tells of all changes to a directory.

    Parameters
    ----------
    path : Path
        The directory; links are followed.
    below : bool
        Whether what is mounted below it counts as well.
    mountinfo_text : str, optional
        As for `file_system_type`.

    Returns
    -------
    bool
        False where changes can be made elsewhere without an event here; True where nothing is
        known.
    """
    text = _read_mountinfo() if mountinfo_text is None else mountinfo_text
    real = Path(os.path.realpath(path))
    kinds = {file_system_type(real, text)}
    if below:
        kinds |= {kind for mount_point, kind in _mounts(text) if mount_point.is_relative_to(real)}
    return not any(kind in SILENT_TYPES or kind.startswith(SILENT_PREFIX) for kind in kinds)


def _read_mountinfo() -> str:
    try:
        # A mount point may have any bytes.
        return os.fsdecode(MOUNTINFO.read_bytes())
    except OSError:
        return ""


def _mounts(text: str) -> Iterator[tuple[Path, str]]:
    """Yield the place and the type of each mount."""
    for line in text.split("\n"):
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if separator and len(fields) > 4:  # noqa: PLR2004 (the fifth field is the mount point)
            # Space, tab, newline and backslash are written as octal numbers.
            place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
            yield Path(place), right.partition(" ")[0]
