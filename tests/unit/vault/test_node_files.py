"""The files that a rollback puts back: what is captured, what differs, and that all of it goes back."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from unit.vault.on_disk import APISERVER, OnDisk, tree, upgrade

from upgrade_guard.errors import Refused
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.tools.files import Files
from upgrade_guard.vault.manifest import NodeFiles
from upgrade_guard.vault.node_files import capture, differences, put_back, read_one


def test_what_is_captured(disk: OnDisk) -> None:
    listing = disk.capture()

    captured = {file.path.removeprefix(f"{disk.root}/") for file in listing.present if file.kind == "file"}
    assert captured == {
        "etc/apt/sources.list.d/kubernetes.list",
        "etc/audit/policy.yaml",
        "etc/cni/net.d/10-flannel.conflist",
        "etc/default/kubelet",
        "etc/encryption/config.yaml",
        "etc/kubernetes/admin.conf",
        "etc/kubernetes/kubelet.conf",
        "etc/kubernetes/manifests/etcd.yaml",
        "etc/kubernetes/manifests/kube-apiserver.yaml",
        "etc/kubernetes/pki/ca.crt",
        "etc/kubernetes/pki/etcd/server.key",
        "var/lib/kubelet/config.yaml",
        "var/lib/kubelet/kubeadm-flags.env",
    }
    assert {path.removeprefix(f"{disk.root}/") for path in listing.absent} == {
        "etc/gone.yaml",
        "etc/sysconfig/kubelet",
        "var/lib/kubelet/instance-config.yaml",
    }
    assert f"{disk.root}/srv/many" in listing.left_out
    assert listing.packages == {"kubeadm": "1.27.16-1.1"}
    assert listing.holds == ("kubeadm",)
    assert listing.manifests_dir == disk.settings.manifests_dir
    assert disk.local.stat().st_mode & 0o777 == 0o600
    assert from_json(NodeFiles, to_json(listing)) == listing
    by_path = {file.path: file for file in listing.present}
    certificate = by_path[f"{disk.root}/etc/kubernetes/pki/ca.crt"]
    assert (certificate.mode, certificate.uid, certificate.gid) == (0o644, os.geteuid(), os.getegid())
    assert differences(disk.files, listing) == ()


def test_what_an_upgrade_changed_is_named(disk: OnDisk) -> None:
    listing = disk.capture()
    upgrade(disk)

    def found(manifests: bool | None) -> dict[str, str]:
        return {
            one.path.removeprefix(f"{disk.root}/"): one.kind
            for one in differences(disk.files, listing, manifests=manifests)
        }

    static_pods = {
        "etc/kubernetes/manifests/etcd.yaml": "changed",
        "etc/kubernetes/manifests/extra.yaml": "added",
        "etc/kubernetes/manifests/kube-apiserver.yaml": "missing",
    }
    others = {
        "etc/apt/sources.list.d/kubernetes.list": "changed",
        "etc/encryption/config.yaml": "attributes",
        "etc/kubernetes/admin.conf": "changed",
        "etc/kubernetes/pki/etcd/server.key": "changed",
        "etc/kubernetes/pki/new": "added",
        "etc/kubernetes/pki/new/deep": "added",
        "etc/kubernetes/pki/new/deep/file": "added",
        "etc/kubernetes/super-admin.conf": "added",
        "var/lib/kubelet/instance-config.yaml": "added",
        "var/lib/kubelet/kubeadm-flags.env": "missing",
    }
    assert found(manifests=True) == static_pods
    assert found(manifests=False) == others
    assert found(manifests=None) == {**static_pods, **others}


def test_everything_goes_back_manifests_apart_and_nothing_is_lost(disk: OnDisk) -> None:
    before = tree(disk)
    listing = disk.capture()
    upgrade(disk)

    done = put_back(disk.files, listing, disk.local, disk.aside, manifests=False)

    assert differences(disk.files, listing, manifests=False) == ()
    assert len(differences(disk.files, listing, manifests=True)) == 3
    assert disk.path("etc/kubernetes/manifests/etcd.yaml").read_text() == "kind: Pod # 1.28\n"
    aside = Path(done.moved_aside[f"{disk.root}/etc/kubernetes/pki/new"])
    assert (aside / "deep" / "file").read_text() == "added"
    assert Path(done.moved_aside[f"{disk.root}/etc/kubernetes/admin.conf"]).read_text() == "renewed"

    done = put_back(disk.files, listing, disk.local, disk.aside, manifests=True)

    assert differences(disk.files, listing) == ()
    assert Path(done.moved_aside[f"{disk.root}/etc/kubernetes/manifests/extra.yaml"]).read_text() == "kind: Pod\n"
    after = tree(disk)
    ours = {name for name in after if "upgrade-guard-stopped" in name or "kubeadm-backup-manifests" in name}
    assert {name: there for name, there in after.items() if name not in ours} == before


def test_putting_back_twice_does_nothing_the_second_time(disk: OnDisk) -> None:
    listing = disk.capture()
    upgrade(disk)
    for manifests in (False, True):
        put_back(disk.files, listing, disk.local, disk.aside, manifests=manifests)
        again = put_back(disk.files, listing, disk.local, disk.aside, manifests=manifests)
        assert (again.moved_aside, again.restored) == ({}, ())


def test_a_second_upgrade_of_the_same_file_does_not_overwrite_what_was_kept(disk: OnDisk) -> None:
    listing = disk.capture()
    for text in ("first", "second"):
        disk.write("etc/kubernetes/admin.conf", text)
        put_back(disk.files, listing, disk.local, disk.aside, manifests=False)
    kept = Path(f"{disk.aside}{disk.root}/etc/kubernetes")
    assert (kept / "admin.conf").read_text() == "first"
    assert (kept / "admin.conf.2").read_text() == "second"


def test_a_kind_that_changed(disk: OnDisk) -> None:
    disk.path("etc/kubernetes/link").symlink_to("admin.conf")
    before = tree(disk)
    listing = disk.capture()
    disk.path("etc/kubernetes/link").unlink()
    disk.write("etc/kubernetes/link/now/a/directory", "x")
    shutil.rmtree(disk.path("etc/kubernetes/pki"))
    disk.write("etc/kubernetes/pki", "now a file")

    kinds = {one.path.removeprefix(f"{disk.root}/"): one.kind for one in differences(disk.files, listing)}
    assert kinds["etc/kubernetes/link"] == "changed"
    assert kinds["etc/kubernetes/pki"] == "changed"
    assert kinds["etc/kubernetes/pki/ca.crt"] == "missing"
    put_back(disk.files, listing, disk.local, disk.aside, manifests=False)

    assert differences(disk.files, listing) == ()
    assert tree(disk) == before


def test_manifests_appear_whole_and_leave_no_other_name_behind(disk: OnDisk) -> None:
    listing = disk.capture()
    upgrade(disk)
    watched: list[str] = []

    class Watching(LocalHost):
        def run(self, command):  # type: ignore[no-untyped-def]
            result = super().run(command)
            directory = disk.path("etc/kubernetes/manifests")
            visible = (path for path in directory.iterdir() if not path.name.startswith("."))
            watched.extend(f"{path.name}: {path.read_text()}" for path in visible)
            return result

    files = Files(Watching("cp1"), work_dir=disk.settings.work_dir)
    put_back(files, listing, disk.local, disk.aside, manifests=True)

    old = {"etcd.yaml": "kind: Pod\n", "kube-apiserver.yaml": APISERVER.format(root=disk.root)}
    new = {"etcd.yaml": "kind: Pod # 1.28\n", "extra.yaml": "kind: Pod\n"}
    assert set(watched) <= {f"{name}: {text}" for one in (old, new) for name, text in one.items()}
    assert sorted(path.name for path in disk.path("etc/kubernetes/manifests").iterdir()) == sorted(old)


def test_a_manifest_with_another_mode_is_replaced(disk: OnDisk) -> None:
    listing = disk.capture()
    disk.path("etc/kubernetes/manifests/etcd.yaml").chmod(0o640)

    put_back(disk.files, listing, disk.local, disk.aside, manifests=True)

    assert differences(disk.files, listing) == ()


def test_many_files_take_few_commands(disk: OnDisk) -> None:
    """The control plane is at rest meanwhile: what counts is that the number does not grow with the files."""
    for number in range(50):
        disk.write(f"etc/kubernetes/pki/{number}.crt", "old")
    listing = disk.capture()
    for number in range(50):
        disk.write(f"etc/kubernetes/pki/{number}.crt", "renewed")
    ran: list[str] = []

    class Counting(LocalHost):
        def run(self, command):  # type: ignore[no-untyped-def]
            ran.append(command.argv[0])
            return super().run(command)

    done = put_back(
        Files(Counting("cp1"), work_dir=disk.settings.work_dir), listing, disk.local, disk.aside, manifests=False
    )

    assert len(done.moved_aside) == 50
    assert len(ran) < 15


def test_killed_in_the_middle_it_goes_on(disk: OnDisk) -> None:
    listing = disk.capture()

    class Killed(BaseException):
        pass

    class Dying(LocalHost):
        left = 0

        def run(self, command):  # type: ignore[no-untyped-def]
            if command.changes:
                if Dying.left == 0:
                    raise Killed
                Dying.left -= 1
            return super().run(command)

    before, survived = tree(disk), 0
    for limit in range(60):
        upgrade(disk)
        Dying.left = limit
        dying = Files(Dying("cp1"), work_dir=disk.settings.work_dir)
        try:
            for manifests in (False, True):
                put_back(dying, listing, disk.local, disk.aside, manifests=manifests)
            survived += 1
        except Killed:
            for manifests in (False, True):
                put_back(disk.files, listing, disk.local, disk.aside, manifests=manifests)
        assert differences(disk.files, listing) == ()
        for leftover in ("etc/kubernetes/tmp/kubeadm-backup-manifests-y", "etc/kubernetes/upgrade-guard-stopped-r1"):
            shutil.rmtree(disk.path(leftover))
        shutil.rmtree(disk.path("etc/kubernetes/upgrade-guard-placing"), ignore_errors=True)
        assert tree(disk) == before
        if survived:
            break
    assert limit > 15
    assert survived == 1


def test_a_kubernetes_directory_behind_links_is_captured_whole(disk: OnDisk) -> None:
    shutil.move(disk.path("etc/kubernetes"), disk.path("srv/kubernetes"))
    disk.path("etc/kubernetes").symlink_to("../srv/kubernetes")
    shutil.move(disk.path("srv/kubernetes/pki"), disk.path("srv/certificates"))
    disk.path("srv/kubernetes/pki").symlink_to(disk.path("srv/certificates"))

    listing = disk.capture()

    paths = {file.path.removeprefix(f"{disk.root}/") for file in listing.present}
    assert {"etc/kubernetes", "srv/kubernetes/pki", "srv/certificates/ca.crt", "srv/kubernetes/admin.conf"} <= paths
    assert listing.manifests_dir == f"{disk.root}/srv/kubernetes/manifests"
    disk.write("srv/certificates/ca.crt", "renewed", 0o644)
    disk.write("srv/kubernetes/manifests/etcd.yaml", "kind: Pod # 1.28\n")
    assert [one.kind for one in differences(disk.files, listing, manifests=True)] == ["changed"]
    for manifests in (False, True):
        put_back(disk.files, listing, disk.local, disk.aside, manifests=manifests)
    assert differences(disk.files, listing) == ()
    assert disk.path("etc/kubernetes/pki/ca.crt").read_text() == "ca"


def test_hard_links_and_odd_names(disk: OnDisk) -> None:
    odd = "etc/kubernetes/--odd *?[x] \\ ü\n.conf"
    disk.write(odd, "odd")
    disk.write("etc/kubernetes/z-first", "shared")
    disk.path("etc/kubernetes/a-second").hardlink_to(disk.path("etc/kubernetes/z-first"))
    listing = disk.capture()
    disk.path(odd).unlink()
    for name in ("etc/kubernetes/z-first", "etc/kubernetes/a-second"):
        disk.path(name).unlink()
        put_back(disk.files, listing, disk.local, disk.aside, manifests=False)
        assert differences(disk.files, listing) == ()
        assert disk.path(name).read_text() == "shared"
    assert disk.path(odd).read_text() == "odd"


def test_a_worker_without_manifests(disk: OnDisk) -> None:
    shutil.rmtree(disk.path("etc/kubernetes/manifests"))
    worker = replace(disk.node, name="w1", role="worker", etcd=None)

    listing = capture(disk.files, worker, disk.settings, disk.local)

    assert differences(disk.files, listing) == ()
    disk.write("etc/kubernetes/manifests/extra.yaml", "kind: Pod\n")
    assert [one.path.rpartition("/")[2] for one in differences(disk.files, listing, manifests=True)] == [
        *("manifests", "extra.yaml"),
    ]
    put_back(disk.files, listing, disk.local, disk.aside, manifests=True)
    assert differences(disk.files, listing) == ()


def test_one_file_can_be_read(disk: OnDisk) -> None:
    disk.path("etc/kubernetes/link").symlink_to("pki/ca.crt")
    disk.path("etc/kubernetes/round").symlink_to("round")
    disk.capture()

    assert read_one(disk.local, f"{disk.root}/etc/apt/sources.list.d/kubernetes.list") == b"deb v1.27"
    assert read_one(disk.local, f"{disk.root}/etc/kubernetes/link") == b"ca"
    assert read_one(disk.local, f"{disk.root}/etc/kubernetes/round") is None
    assert read_one(disk.local, f"{disk.root}/etc/kubernetes/pki") is None
    assert read_one(disk.local, f"{disk.root}/etc/kubernetes/none") is None


# An archive is never trusted.


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode = kind, link, 0o600
    return found


HOSTILE: dict[str, tuple[tarfile.TarInfo, ...]] = {
    "absolute": (member("/etc/passwd"),),
    "upwards": (member("etc/../../etc/passwd"),),
    "only upwards": (member(".."),),
    "dot": (member("./etc/passwd"),),
    "empty": (member(""),),
    "twice": (member("etc/x"), member("etc/x")),
    "device": (member("etc/x", tarfile.CHRTYPE),),
    "fifo": (member("etc/x", tarfile.FIFOTYPE),),
    "beneath a link": (member("etc/x", tarfile.SYMTYPE, "/root"), member("etc/x/.ssh")),
    "beneath a file": (member("etc/x"), member("etc/x/y")),
    "hard link outside": (member("etc/x", tarfile.LNKTYPE, "etc/shadow"),),
    "hard link upwards": (member("etc/x", tarfile.LNKTYPE, "../shadow"),),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_hostile_archives_are_refused_before_anything_is_touched(disk: OnDisk, trick: str) -> None:
    listing = disk.capture()
    disk.write("etc/kubernetes/admin.conf", "renewed")
    before = tree(disk)
    with tarfile.open(disk.local, "w:gz") as archive:
        for one in HOSTILE[trick]:
            archive.addfile(one, io.BytesIO())

    with pytest.raises(Refused) as refused:
        put_back(disk.files, listing, disk.local, disk.aside, manifests=False)
    assert refused.value.hint
    with pytest.raises(Refused):
        read_one(disk.local, "/etc/x")
    assert tree(disk) == before


def repacked(disk: OnDisk, change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]) -> None:
    with tarfile.open(disk.local) as archive:
        members = [(one, (archive.extractfile(one) or io.BytesIO()).read() if one.isfile() else b"") for one in archive]
    with tarfile.open(disk.local, "w:gz") as archive:
        for one, content in members:
            changed = change(one, content)
            if changed:
                archive.addfile(changed[0], io.BytesIO(changed[1]))


def other_content(one: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return (one, b"ADMIN") if one.name.endswith("admin.conf") else (one, content)


def other_mode(one: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    if one.name.endswith("admin.conf"):
        one.mode = 0o4755
    return one, content


def without(one: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes] | None:
    return None if one.name.endswith("admin.conf") else (one, content)


@pytest.mark.parametrize("change", [other_content, other_mode, without])
def test_an_archive_that_is_not_the_captured_one_is_refused(disk: OnDisk, change) -> None:  # type: ignore[no-untyped-def]
    listing = disk.capture()
    repacked(disk, change)
    before = tree(disk)

    with pytest.raises(Refused, match=r"is not what was captured of cp1: .*admin\.conf differs"):
        put_back(disk.files, listing, disk.local, disk.aside, manifests=False)
    assert tree(disk) == before


@pytest.mark.parametrize("harm", [lambda content: b"", lambda content: content[:-100], lambda content: b"junk" * 50])
def test_a_damaged_archive_is_refused(disk: OnDisk, harm: Callable[[bytes], bytes]) -> None:
    listing = disk.capture()
    disk.local.write_bytes(harm(disk.local.read_bytes()))

    with pytest.raises(Refused, match="cannot be read"):
        put_back(disk.files, listing, disk.local, disk.aside, manifests=False)
