"""On which file system a path lies, read from lines as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.file_system import file_system_type, tells_of_changes

MOUNTINFO = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:40 / /data rw,relatime shared:2 master:3 - nfs4 nas:/data rw,vers=4.2
41 40 8:17 / /data/local rw - xfs /dev/sdb1 rw
42 27 0:42 / /mnt/night\040share rw - cifs //nas/night rw
43 27 0:43 / /mnt/a\134b\011c rw - 9p host rw
44 27 0:44 / /mnt/sshfs rw - fuse.sshfs user@host:/ rw
45 27 8:33 / /mnt/usb rw - fuseblk /dev/sdc1 rw
46 27 0:46 / /net rw - autofs systemd-1 rw
47 46 0:47 / /net rw - nfs nas:/net rw
a line of another kind
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/data", "nfs4"),
        ("/data/2026-11-23", "nfs4"),
        ("/database", "ext4"),
        ("/data/local/in", "xfs"),
        ("/mnt/night share/in", "cifs"),
        ("/mnt/night", "ext4"),
        ("/mnt/a\\b\tc", "9p"),
        ("/mnt/sshfs/in", "fuse.sshfs"),
        ("/net/in", "nfs"),
    ],
)
def test_the_innermost_mount_decides(path: str, kind: str) -> None:
    assert file_system_type(Path(path), MOUNTINFO) == kind


def test_without_a_list_of_mounts_nothing_is_known() -> None:
    assert file_system_type(Path("/data"), "") == ""
    assert tells_of_changes(Path("/data"), below=True, mountinfo_text="")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home", True),
        ("/data/in", False),
        ("/data/local", True),
        ("/mnt/night share", False),
        ("/mnt/sshfs", False),
        ("/mnt/usb", True),
        ("/net", False),
    ],
)
def test_shares_do_not_tell_of_changes(path: str, *, expected: bool) -> None:
    assert tells_of_changes(Path(path), below=False, mountinfo_text=MOUNTINFO) is expected


def test_a_share_that_is_mounted_below_counts_where_all_below_is_watched() -> None:
    assert tells_of_changes(Path("/mnt"), below=False, mountinfo_text=MOUNTINFO)
    assert not tells_of_changes(Path("/mnt"), below=True, mountinfo_text=MOUNTINFO)


def test_this_machine_names_the_file_system_of_a_directory(tmp_path: Path) -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("this system has no /proc/self/mountinfo")
    assert file_system_type(tmp_path) != ""
