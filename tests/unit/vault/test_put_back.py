"""Putting back where it is not plain: many files, some of them only, static pods, and what cannot be moved away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from unit.vault.on_disk import OnDisk, tree, upgrade

from upgrade_guard.errors import Refused, StepFailed
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.command import Command, Result
from upgrade_guard.tools.commands import CHANGE_TIMEOUT
from upgrade_guard.tools.files import Files
from upgrade_guard.vault.node_files import Difference, PutBack, capture, differences, every, put_back

MANIFESTS = "etc/kubernetes/manifests"


class Watched(LocalHost):
    """Keeps what was run; `instead` may answer in the place of a command, or give another one."""

    def __init__(self) -> None:
        super().__init__("cp1")
        self.ran: list[tuple[str, ...]] = []
        self.marked: list[Command] = []
        self.instead: Callable[[Command], Command | Result] = lambda command: command

    def run(self, command: Command) -> Result:
        self.ran.append(command.argv)
        self.marked += [command] if command.changes else []
        given = self.instead(command)
        return given if isinstance(given, Result) else super().run(given)

    def of(self, program: str) -> list[tuple[str, ...]]:
        return [argv for argv in self.ran if argv[0] == program]


@pytest.fixture
def host() -> Watched:
    return Watched()


@pytest.fixture
def files(disk: OnDisk, host: Watched) -> Files:
    return Files(host, work_dir=disk.settings.work_dir)


def all_back(disk: OnDisk, files: Files) -> PutBack:
    listing = disk.capture()
    upgrade(disk)
    put_back(files, listing, disk.local, disk.aside, manifests=False)
    return put_back(files, listing, disk.local, disk.aside, manifests=True)


def test_more_files_than_a_command_takes_all_go_back(disk: OnDisk, files: Files, host: Watched) -> None:
    names = [f"etc/kubernetes/pki/{number:04}.crt" for number in range(401)]
    for name in names:
        disk.write(name, "old")
    before, listing = tree(disk), disk.capture()
    for name in names:
        disk.write(name, "renewed")

    done = put_back(files, listing, disk.local, disk.aside, manifests=False)

    assert differences(disk.files, listing) == ()
    assert tree(disk) == before
    assert len(done.moved_aside) == len(done.restored) == len(names)
    for program, commands in (("sha256sum", 3), ("mv", 3), ("tar", 3)):
        below = f"{disk.root}/etc".lstrip("/")
        paths = [sum(below in word for word in argv[argv.index("--") :]) for argv in host.of(program)]
        assert max(paths) <= 200
        assert len([number for number in paths if number]) == commands, program


def test_in_a_second_attempt_all_of_many_get_names_of_their_own(disk: OnDisk, files: Files) -> None:
    names = [f"etc/kubernetes/pki/{number:04}.crt" for number in range(201)]
    for name in names:
        disk.write(name, "old")
    listing = disk.capture()
    for content in ("first", "second"):
        for name in names:
            disk.write(name, content)
        moved = put_back(files, listing, disk.local, disk.aside, manifests=False).moved_aside
    assert set(moved) == {f"{disk.root}/{name}" for name in names}
    assert all(target.endswith(".crt.2") for target in moved.values())
    assert all((disk.path("/") / target).read_text() == "second" for target in moved.values())


def test_a_third_attempt_keeps_all_three(disk: OnDisk, files: Files) -> None:
    listing = disk.capture()
    kept = []
    for content in ("first", "second", "third"):
        disk.write("etc/kubernetes/admin.conf", content)
        moved = put_back(files, listing, disk.local, disk.aside, manifests=False).moved_aside
        kept += list(moved.values())
    assert kept == [f"{disk.aside}{disk.root}/etc/kubernetes/admin.conf{end}" for end in ("", ".2", ".3")]
    assert [(disk.root / path).read_text() for path in kept] == ["first", "second", "third"]


def test_only_what_is_meant_is_looked_at_and_put_back(disk: OnDisk, files: Files) -> None:
    listing = disk.capture()
    upgrade(disk)
    etcd = f"{disk.root}/{MANIFESTS}/etcd.yaml"

    assert differences(files, listing, which=lambda path: path == etcd) == (Difference(etcd, "changed"),)
    done = put_back(files, listing, disk.local, disk.aside, manifests=True, which=lambda path: path == etcd)

    assert done.restored == (etcd,)
    left = [one.path for one in differences(files, listing, manifests=True)]
    assert left == [f"{disk.root}/{MANIFESTS}/{name}.yaml" for name in ("extra", "kube-apiserver")]
    assert every("anything")


def test_differences_come_in_the_order_of_their_paths(disk: OnDisk, files: Files) -> None:
    listing = disk.capture()
    upgrade(disk)
    paths = [one.path for one in differences(files, listing)]
    assert paths == sorted(paths)
    assert len(paths) > 5


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda path: path.chmod(0o640), "attributes"),
        (lambda path: path.write_text("other"), "changed"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: (path.unlink(), path.symlink_to("ca.crt")), "changed"),
        (lambda path: (path.unlink(), path.mkdir()), "changed"),
    ],
)
def test_what_is_different_about_a_file(disk: OnDisk, files: Files, change: Callable[..., object], kind: str) -> None:
    listing = disk.capture()
    path = disk.path("etc/kubernetes/pki/etcd/server.key")
    change(path)
    assert Difference(str(path), kind) in differences(files, listing)


def test_a_link_that_leads_elsewhere_has_changed(disk: OnDisk, files: Files) -> None:
    link = disk.path("etc/kubernetes/link")
    link.symlink_to("admin.conf")
    listing = disk.capture()
    link.unlink()
    link.symlink_to("kubelet.conf")
    assert differences(files, listing) == (Difference(str(link), "changed"),)
    put_back(files, listing, disk.local, disk.aside, manifests=False)
    assert str(link.readlink()) == "admin.conf"


def test_a_mode_alone_goes_back_in_its_place(disk: OnDisk, files: Files) -> None:
    """A key that an upgrade opened up: nothing was lost, so nothing is kept aside."""
    listing = disk.capture()
    disk.path("etc/kubernetes/pki/etcd/server.key").chmod(0o644)
    done = put_back(files, listing, disk.local, disk.aside, manifests=False)
    assert done.moved_aside == {}
    assert disk.path("etc/kubernetes/pki/etcd/server.key").stat().st_mode & 0o777 == 0o600


def test_static_pods_with_another_mode_are_replaced_as_a_whole(disk: OnDisk, files: Files) -> None:
    listing = disk.capture()
    disk.path(f"{MANIFESTS}/etcd.yaml").chmod(0o640)
    disk.path(MANIFESTS).chmod(0o711)
    done = put_back(files, listing, disk.local, disk.aside, manifests=True)
    assert list(done.moved_aside) == [f"{disk.root}/{MANIFESTS}/etcd.yaml"]
    assert differences(files, listing) == ()


def test_all_that_changes_a_node_is_marked_as_such(disk: OnDisk, files: Files, host: Watched) -> None:
    """Such a command is in the journal each time, and no interrupt at the terminal reaches it."""
    listing = disk.capture()
    for content in ("first", "second"):
        disk.write("etc/kubernetes/admin.conf", content)
        disk.write("etc/kubernetes/super-admin.conf", content)
        put_back(files, listing, disk.local, disk.aside, manifests=False)
    changing = [argv[0] for argv in host.ran if argv[0] in ("mkdir", "mv", "tar", "sync", "rmdir")]
    assert [command.argv[0] for command in host.marked] == changing
    assert min(command.timeout for command in host.marked) == CHANGE_TIMEOUT, "a slow disk is no failure"
    assert changing.count("mv") == 3, "together where the names are free, one by one where they are not"


# Static pods appear whole.


def test_static_pods_are_made_beside_their_directory_and_renamed_into_it(
    disk: OnDisk, files: Files, host: Watched
) -> None:
    all_back(disk, files)
    beside = f"{disk.root}/etc/kubernetes/upgrade-guard-placing"
    [unpacked] = [argv for argv in host.of("tar") if f"--directory={beside}" in argv]
    assert not [argv for argv in host.of("tar") if argv is not unpacked and f"{MANIFESTS}/etcd.yaml" in argv[-1]]
    [moved] = [argv for argv in host.of("mv") if f"--target-directory={disk.root}/{MANIFESTS}" in argv]
    sources = sorted(word for word in moved if word.startswith(beside))
    assert sources == [f"{beside}{disk.root}/{MANIFESTS}/{name}.yaml" for name in ("etcd", "kube-apiserver")]
    [synced] = host.of("sync")
    assert set(sources) <= set(synced)
    assert host.ran.index(unpacked) < host.ran.index(synced) < host.ran.index(moved)
    assert not disk.path("etc/kubernetes/upgrade-guard-placing").exists(), "nothing of it stays"


def test_where_no_static_pod_differs_nothing_is_placed(disk: OnDisk, files: Files, host: Watched) -> None:
    listing = disk.capture()
    put_back(files, listing, disk.local, disk.aside, manifests=True)
    assert not [argv for argv in host.ran if argv[0] in ("mkdir", "mv", "sync", "tar", "rmdir")]


@pytest.mark.parametrize("changed", ["a-copy.yaml", "etcd.yaml", "z-copy.yaml", "../saved.yaml"])
def test_hard_links_to_a_static_pod_go_back_each_with_its_own_content(disk: OnDisk, files: Files, changed: str) -> None:
    etcd = disk.path(f"{MANIFESTS}/etcd.yaml")
    for name in ("a-copy.yaml", "z-copy.yaml", "../saved.yaml"):
        disk.path(f"{MANIFESTS}/{name}").hardlink_to(etcd)
    before, listing = tree(disk), disk.capture()
    disk.path(f"{MANIFESTS}/{changed}").unlink()
    etcd.unlink(missing_ok=True)
    disk.write(f"{MANIFESTS}/etcd.yaml", "kind: Pod # 1.28\n")

    put_back(files, listing, disk.local, disk.aside, manifests=False)
    assert differences(files, listing, manifests=False) == ()
    put_back(files, listing, disk.local, disk.aside, manifests=True)
    assert tree(disk) == before, "and nothing stays beside it"


@pytest.mark.parametrize("gone", ["a-copy.yaml", "etcd.yaml", "../a-save", "../z-save"])
def test_an_archive_that_has_hard_links_as_such_goes_back_too(
    disk: OnDisk, files: Files, host: Watched, gone: str
) -> None:
    """Archives were made so once."""
    disk.path(f"{MANIFESTS}/a-copy.yaml").hardlink_to(disk.path(f"{MANIFESTS}/etcd.yaml"))
    disk.write("etc/kubernetes/z-save", "saved")
    disk.path("etc/kubernetes/a-save").hardlink_to(disk.path("etc/kubernetes/z-save"))
    host.instead = lambda command: replace(
        command, argv=tuple(word for word in command.argv if word != "--hard-dereference")
    )
    listing = capture(files, disk.node, disk.settings, disk.local)
    disk.path(f"{MANIFESTS}/{gone}").unlink()
    for manifests in (False, True):
        put_back(files, listing, disk.local, disk.aside, manifests=manifests)
    assert differences(files, listing) == ()


def test_what_lies_below_the_static_pods_goes_back_below_them(disk: OnDisk, files: Files, host: Watched) -> None:
    """A copy of etcd.yaml in there is no static pod, and must not become one."""
    disk.write(f"{MANIFESTS}/saved/etcd.yaml", "kind: Pod # 1.26\n")
    disk.write(f"{MANIFESTS}/saved/more/notes.txt", "kubelet reads no directory")
    before, listing = tree(disk), disk.capture()
    disk.path(f"{MANIFESTS}/saved").rename(disk.path("srv/gone"))
    disk.write(f"{MANIFESTS}/etcd.yaml", "kind: Pod # 1.28\n")
    put_back(files, listing, disk.local, disk.aside, manifests=True)
    after = {name: what for name, what in tree(disk).items() if not name.startswith("srv/gone")}
    assert after == before
    [moved] = [argv for argv in host.of("mv") if f"--target-directory={disk.root}/{MANIFESTS}" in argv]
    assert len(moved[moved.index("--") + 1 :]) == 1


def test_a_directory_of_static_pods_that_is_gone_comes_back(disk: OnDisk, files: Files) -> None:
    disk.write(f"{MANIFESTS}/more/notes.txt", "kubelet does not read this")
    before, listing = tree(disk), disk.capture()
    disk.path(MANIFESTS).rename(disk.path("srv/gone"))
    put_back(files, listing, disk.local, disk.aside, manifests=False)
    assert not disk.path(f"{MANIFESTS}/etcd.yaml").exists(), "no kubelet starts them before it is their turn"
    put_back(files, listing, disk.local, disk.aside, manifests=True)
    after = {name: what for name, what in tree(disk).items() if not name.startswith("srv/gone")}
    assert after == before


# What cannot be.


@pytest.mark.parametrize("stuck", ["admin.conf", "super-admin.conf"])
def test_what_was_not_moved_away_stops_it_before_anything_is_extracted(
    disk: OnDisk, files: Files, host: Watched, stuck: str
) -> None:
    listing = disk.capture()
    upgrade(disk)
    host.instead = lambda command: Result(0) if command.argv[0] == "mv" else command
    with pytest.raises(StepFailed, match="was not moved to") as failed:
        put_back(files, listing, disk.local, disk.aside, manifests=False, which=lambda path: path.endswith(f"/{stuck}"))
    assert f"{disk.root}/etc/kubernetes/{stuck} on cp1" in failed.value.message
    assert failed.value.message.endswith(f"{disk.aside}{disk.root}/etc/kubernetes/{stuck}")
    assert host.of("tar") == []


def test_an_archive_that_lacks_what_is_listed_is_no_capture(disk: OnDisk, files: Files, host: Watched) -> None:
    def without_one(command: Command) -> Command:
        if command.argv[0] != "tar" or not isinstance(command.stdin, bytes):
            return command
        return replace(command, stdin=b"\0".join(command.stdin.split(b"\0")[2:]))

    host.instead = without_one
    with pytest.raises(StepFailed, match=r"archive of cp1 lacks .* and 1 more") as failed:
        capture(files, disk.node, disk.settings, disk.local)
    assert "upgrade-guard resume" in failed.value.hint


def test_everything_that_differs_from_the_listing_is_named(disk: OnDisk, files: Files) -> None:
    listing = disk.capture()
    first, second, *rest = sorted(listing.present, key=lambda one: one.path)
    other = replace(listing, present=(*rest, replace(second, mode=0o4755)))
    before = tree(disk)
    with pytest.raises(Refused) as refused:
        put_back(files, other, disk.local, disk.aside, manifests=False)
    assert refused.value.message.endswith(f"captured of cp1: {first.path} differs")
    assert [reason.split(" differs")[0] for reason in refused.value.reasons] == [first.path, second.path]
    assert refused.value.hint
    assert tree(disk) == before


def test_what_is_listed_is_in_the_order_of_its_paths(disk: OnDisk, files: Files) -> None:
    listing = disk.capture()
    paths = [one.path for one in listing.present]
    assert paths == sorted(paths)
    assert listing.node == "cp1"
    assert listing.archive == disk.local.name
    assert set(listing.watched) >= {f"{disk.root}/etc/kubernetes"}
