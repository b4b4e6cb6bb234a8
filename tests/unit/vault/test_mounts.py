from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.vault.disk import file_system_of, is_remote, nearest, survives_this_machine

MOUNTINFO = """\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 21 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw
40 21 0:40 / /mnt rw - xfs /dev/vdb rw
41 40 0:41 / /mnt/nfs rw shared:7 master:2 - nfs4 nas:/srv rw
42 40 0:42 / /mnt/with\\040space rw - fuse.sshfs backup@nas:/srv rw
43 40 0:43 / /mnt/over rw - ext4 /dev/vdc rw
44 40 0:44 / /mnt/over rw - cifs //nas/share rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x", "ext4"),
        ("/", "ext4"),
        ("/dev/shm/x", "tmpfs"),
        ("/mnt/nfs/etcd", "nfs4"),
        ("/mnt/nfs", "nfs4"),
        ("/mnt/nfs2", "xfs"),
        ("/mnt/with space/x", "fuse.sshfs"),
        ("/mnt/over/x", "cifs"),
    ],
)
def test_the_deepest_and_last_mount_counts(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTINFO) == kind


def test_file_systems_of_other_machines() -> None:
    assert [is_remote(kind) for kind in ("nfs4", "fuse.sshfs", "ceph", "ext4", "tmpfs", "overlay", "", "fuse")] == [
        *(True, True, True),
        *(False, False, False, False, False),
    ]


def test_nearest(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert nearest(tmp_path / "link" / "a" / "b") == tmp_path.resolve()


def on(path: Path, kind: str) -> str:
    return f"1 0 1:1 / / rw - ext4 /dev/vda rw\n2 1 1:2 / {path.resolve()} rw - {kind} source rw\n"


def test_what_survives_a_control_plane_node(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev

    def judged(kind: str, devices: tuple[int, ...] = (), separate: tuple[str, ...] = ()) -> tuple[bool, str]:
        return survives_this_machine(
            tmp_path / "etcd", etcd_data_devices=devices, separate_storage=separate, mountinfo=on(tmp_path, kind)
        )

    assert judged("nfs4")[0]
    assert "nfs4" in judged("nfs4")[1]
    assert judged("nfs4", (device,)) == (False, f"{tmp_path / 'etcd'} is on the same device as the etcd data")
    off, why = judged("ext4")
    assert not off
    assert "local file system (ext4)" in why
    assert judged("ext4", (device + 1,), (str(tmp_path),))[0]
    assert judged("ext4", (), (str(tmp_path / "etcd"),))[0]
    assert not judged("ext4", (), (str(tmp_path / "other"),))[0]
    assert not judged("ext4", (device,), (str(tmp_path),))[0]
