"""Files on this machine, with the real programs."""

from __future__ import annotations

import fcntl
import os
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from upgrade_guard.errors import CommandFailed, StepFailed, UnexpectedOutput, UsageProblem
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.tools.files import Files

STRANGE = "a name with 'quotes', a\nnewline, ümläute and [brackets]*"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(LocalHost("here"), work_dir=str(tmp_path / "work"))


def test_reads_text_bytes_and_names(files: Files, tmp_path: Path) -> None:
    (tmp_path / STRANGE).write_bytes(b"\xff\x00one\n")
    (tmp_path / ".hidden").write_text("two")
    assert files.read_bytes(str(tmp_path / STRANGE)) == b"\xff\x00one\n"
    assert files.read_text(str(tmp_path / ".hidden")) == "two"
    assert files.list_dir(str(tmp_path)) == (".hidden", STRANGE)


def test_a_missing_file_is_an_error_and_not_empty(files: Files, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        files.read_text(str(tmp_path / "none"))
    with pytest.raises(CommandFailed, match="No such file"):
        files.list_dir(str(tmp_path / "none"))


def test_existence(files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert files.exists(str(tmp_path / "file"))
    assert not files.exists(str(tmp_path / "dangling"))
    assert files.is_dir(str(tmp_path))
    assert not files.is_dir(str(tmp_path / "file"))


def test_write_replaces_the_whole_file_with_the_mode(files: Files, tmp_path: Path) -> None:
    target = tmp_path / "conf"
    target.write_text("something longer than what comes")
    target.chmod(0o644)
    files.write(str(target), b"new\n")
    assert target.read_bytes() == b"new\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    files.write(str(target), b"", mode=0o755)
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"", 0o755)
    assert os.listdir(tmp_path) == ["conf"]


def test_what_a_killed_write_left_is_removed_by_the_next(files: Files, tmp_path: Path) -> None:
    for name in ("a[b].part-0a1b2c3d", "a[b].part-by-hand", "ab.part-0a1b2c3d"):
        (tmp_path / name).write_text("half")
    files.write(str(tmp_path / "a[b]"), b"new\n")
    assert {path.name for path in tmp_path.iterdir()} == {"a[b]", "a[b].part-by-hand", "ab.part-0a1b2c3d"}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(files: Files, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "inside").touch()
    with pytest.raises(CommandFailed):
        files.write(str(tmp_path / "conf"), b"new")
    assert sorted(os.listdir(tmp_path)) == ["conf"]


def test_files_travel_in_both_directions(files: Files, tmp_path: Path) -> None:
    here, there, back = tmp_path / "here", tmp_path / "there", tmp_path / "back"
    here.write_bytes(os.urandom(3 * 1024 * 1024 + 17))
    files.send(here, str(there))
    files.fetch(str(there), back)
    assert back.read_bytes() == here.read_bytes()
    assert stat.S_IMODE(there.stat().st_mode) == stat.S_IMODE(back.stat().st_mode) == 0o600
    assert files.size(str(there)) == 3 * 1024 * 1024 + 17


def test_a_fetch_that_fails_leaves_nothing_here(files: Files, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    with pytest.raises(CommandFailed):
        files.fetch(str(tmp_path / "none"), tmp_path / "local" / "file")
    assert os.listdir(tmp_path / "local") == []


@pytest.mark.parametrize("cat", ("/usr/bin/true", "/usr/bin/head --bytes=1000 $2", "/usr/bin/cat -- $2 $2"))
def test_a_fetch_of_which_not_all_arrived_is_not_taken_for_the_file(
    cat: str, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"x" * 4096)
    programs, local = tmp_path / "programs", tmp_path / "local"
    local.mkdir()
    programs.mkdir()
    (programs / "cat").write_text(f'#!/bin/sh\nset -- "$@"\nexec {cat}\n')
    (programs / "cat").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(StepFailed, match="4096 bytes"):
        files.fetch(str(there), local / "file")
    assert os.listdir(local) == []


def test_what_a_killed_fetch_left_here_is_removed_by_the_next(files: Files, tmp_path: Path) -> None:
    there, local = tmp_path / "there", tmp_path / "local"
    there.write_text("whole")
    local.mkdir()
    for name in ("a[b].part-0a1b2c3d", "ab.part-0a1b2c3d"):
        (local / name).write_text("half")
    files.fetch(str(there), local / "a[b]")
    assert {path.name for path in local.iterdir()} == {"a[b]", "ab.part-0a1b2c3d"}
    (local / "tar.part-0a1b2c3d").write_text("half")
    files.pack((str(there),), local / "tar")
    assert {path.name for path in local.iterdir()} == {"a[b]", "ab.part-0a1b2c3d", "tar"}


def test_digests_of_strange_names(files: Files, tmp_path: Path) -> None:
    (tmp_path / STRANGE).write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(str(tmp_path / STRANGE)) == {str(tmp_path / STRANGE): digest}
    assert files.sha256() == {}


def test_a_digest_of_a_missing_file_is_an_error(files: Files, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(CommandFailed):
        files.sha256(str(tmp_path / "there"), str(tmp_path / "none"))


def test_disk_numbers_agree_with_the_kernel(files: Files, tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert files.device(str(tmp_path)) == tmp_path.stat().st_dev
    assert 0 < files.free_bytes(str(tmp_path)) <= found.f_blocks * found.f_frsize
    assert files.filesystem_type("/proc") == "proc"
    assert files.is_mount_point("/proc")
    assert not files.is_mount_point(str(tmp_path))
    assert not files.is_mount_point(str(tmp_path / "none"))


def test_finds_files_below_and_newer_ones(files: Files, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    old, new = tmp_path / "old", tmp_path / "sub" / STRANGE
    for path, when in ((old, 1000), (new, 3000)):
        path.touch()
        os.utime(path, (when, when))
    assert files.find_files(str(tmp_path)) == (str(old), str(new))
    newer = files.find_files(str(tmp_path), newer_than=datetime.fromtimestamp(2000, UTC))
    assert newer == (str(new),)


def test_entries_tell_what_lies_there(files: Files, tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir(mode=0o750)
    (tmp_path / "keep" / "file").write_bytes(b"12345")
    (tmp_path / "keep" / "file").chmod(0o640)
    (tmp_path / "keep" / "link").symlink_to("file")
    (tmp_path / "keep" / "tmp[1]").mkdir()
    (tmp_path / "keep" / "tmp[1]" / "skipped").touch()
    found = files.entries(str(tmp_path / "keep"), prune=(str(tmp_path / "keep" / "tmp[1]"),))
    assert [(Path(one.path).name, one.kind, one.mode, one.link) for one in found] == [
        ("keep", "directory", 0o750, ""),
        ("file", "file", 0o640, ""),
        ("link", "link", 0o777, "file"),
    ]
    assert (found[1].size, found[1].uid) == (5, os.geteuid())
    assert files.entries() == ()


def test_move_renames_and_never_replaces(files: Files, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").touch()
    files.move(str(tmp_path / "source"), str(tmp_path / "target"))
    assert os.listdir(tmp_path) == ["target"]
    (tmp_path / "source").mkdir()
    with pytest.raises(StepFailed, match="already there"):
        files.move(str(tmp_path / "source"), str(tmp_path / "target"))
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(StepFailed, match="already there"):
        files.move(str(tmp_path / "source"), str(tmp_path / "dangling"))


def test_moves_many_into_a_directory_and_replaces_nothing(files: Files, tmp_path: Path) -> None:
    for name in ("a", "b", "kept"):
        (tmp_path / name).write_text(name)
    (tmp_path / "there").mkdir()
    files.move_into(f"{tmp_path}/there", f"{tmp_path}/a", f"{tmp_path}/b")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["a", "b"]

    (tmp_path / "b").symlink_to("nothing")
    with pytest.raises(StepFailed, match="already there"):
        files.move_into(f"{tmp_path}/there", f"{tmp_path}/kept", f"{tmp_path}/b")
    assert (tmp_path / "kept").exists()
    with pytest.raises(CommandFailed):
        files.move_into(f"{tmp_path}/there", f"{tmp_path}/missing")


def test_existence_of_many_in_one_look(files: Files, tmp_path: Path) -> None:
    (tmp_path / "file\nwith lines").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    names = [f"{tmp_path}/{name}" for name in ("file\nwith lines", "dangling", "missing")]
    assert files.existing(*names) == {names[0]}
    assert files.existing(*names, follow=False) == {names[0], names[1]}
    assert files.existing() == frozenset()


def test_move_refuses_another_file_system() -> None:
    host = ScriptedHost("cp1")
    host.answers("stat", ..., stdout="2049 /var/lib/etcd\x0051 /mnt\0")
    with pytest.raises(StepFailed, match="different file systems"):
        Files(host).move("/var/lib/etcd", "/mnt/etcd")
    assert len(host.commands) == 1


def test_copy_tree_keeps_modes_and_links(files: Files, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o710)
    (tmp_path / "a" / "link").symlink_to("nowhere")
    files.copy_tree(str(tmp_path / "a"), str(tmp_path / "b"))
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o710
    assert (tmp_path / "b" / "link").readlink() == Path("nowhere")


def test_make_dir_is_harmless_twice(files: Files, tmp_path: Path) -> None:
    for _ in range(2):
        files.make_dir(str(tmp_path / "a" / "b"))
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_removes_only_below_the_work_directory(files: Files, tmp_path: Path) -> None:
    inside = tmp_path / "work" / "old"
    inside.mkdir(parents=True)
    staged = tmp_path / "work-staged" / "r1"
    staged.mkdir(parents=True)
    files.remove_own(str(inside))
    files.remove_own(str(staged))
    files.remove_own(str(staged.parent))
    assert not inside.exists()
    assert not staged.parent.exists()
    others = ("work", "work/../x", "workers", "work-staged-by-others", "work-staged/../x")
    for path in (tmp_path, *(tmp_path / other for other in others), Path("/")):
        with pytest.raises(UsageProblem):
            files.remove_own(str(path))
    with pytest.raises(UsageProblem):
        Files(LocalHost("here")).remove_own("/anything")


def test_sees_who_holds_a_flock(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.touch()
    assert not files.flock_held(str(path))
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert files.flock_held(str(path))
    assert not files.flock_held(str(path))


def test_a_flock_of_a_missing_file_is_an_error_and_makes_no_file(files: Files, tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        files.flock_held(str(tmp_path / "db"))
    assert os.listdir(tmp_path) == []


def members(local: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(local, "r:gz") as archive:
        return {member.name: member for member in archive}


def test_packs_and_unpacks_with_modes_links_and_strange_names(files: Files, tmp_path: Path) -> None:
    source, local, target = tmp_path / "source", tmp_path / "files.tar.gz", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / STRANGE).write_bytes(b"one")
    (source / "sub" / STRANGE).chmod(0o640)
    (source / "link").symlink_to("sub")
    (source / "-rf").write_text("two")
    files.pack((str(source),), local)
    assert stat.S_IMODE(local.stat().st_mode) == 0o600
    names = members(local)
    inside = str(source).lstrip("/")
    assert {f"{inside}/sub/{STRANGE}", f"{inside}/link", f"{inside}/-rf"} < set(names)
    assert names[f"{inside}/link"].linkname == "sub"
    target.mkdir()
    files.unpack(local, directory=str(target), exclude=(f"{inside}/-rf",))
    found = target / inside / "sub" / STRANGE
    assert (found.read_bytes(), stat.S_IMODE(found.stat().st_mode)) == (b"one", 0o640)
    assert not (target / inside / "-rf").exists()
    files.unpack(local, directory=str(target), only=(f"{inside}/-rf",))
    assert (target / inside / "-rf").read_text() == "two"


def test_unpack_replaces_what_is_there(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text("old")
    files.pack((str(path),), tmp_path / "a.tar.gz")
    path.write_text("new and longer")
    files.unpack(tmp_path / "a.tar.gz")
    assert path.read_text() == "old"


def test_packs_only_what_is_named_when_told_so(files: Files, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "inside").touch()
    files.pack((str(tmp_path / "dir"),), tmp_path / "a.tar.gz", recursive=False)
    assert [member.isdir() for member in members(tmp_path / "a.tar.gz").values()] == [True]


def test_a_pack_that_fails_leaves_no_archive(files: Files, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed):
        files.pack((str(tmp_path / "none"),), tmp_path / "a.tar.gz")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["/", "relative", "", "//"])
def test_packing_needs_an_absolute_path_below_the_root(files: Files, tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageProblem):
        files.pack((path,), tmp_path / "a.tar.gz")


@pytest.mark.parametrize("stdout", ["", "Avail\n-\n", "words\n"])
def test_a_number_that_is_none_is_refused(stdout: str) -> None:
    host = ScriptedHost("cp1")
    host.answers("df", ..., stdout=stdout)
    with pytest.raises(UnexpectedOutput):
        Files(host).free_bytes("/")
