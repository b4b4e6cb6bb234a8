"""Whose the work directory of a node is, asked of a real file system by the real find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from upgrade_guard.errors import Refused
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.command import Command
from upgrade_guard.tools.own_directory import OwnDirectoryHost, refuse_foreign_directory

STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    path = tmp_path / "var" / "upgrade-guard"
    path.mkdir(parents=True, mode=0o700)
    return path


def judge(path: Path) -> None:
    refuse_foreign_directory(LocalHost("cp1"), str(path))


def test_a_directory_of_ours_is_ours_and_so_is_one_that_is_not_there_yet(work: Path) -> None:
    judge(work)
    judge(work / "node" / "below")


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o1777])
def test_what_others_can_write_is_refused(work: Path, mode: int) -> None:
    work.chmod(mode)
    with pytest.raises(Refused, match="can be written by others") as refused:
        judge(work)
    assert f"{work} on cp1" in refused.value.message
    assert f"chmod go-w {work}" in refused.value.hint


def test_so_is_a_directory_on_the_way_unless_it_is_sticky(work: Path) -> None:
    work.parent.chmod(0o777)
    with pytest.raises(Refused, match="can be written by others"):
        judge(work)
    work.parent.chmod(0o1777)
    judge(work)


@as_root
def test_a_group_that_has_others_is_refused_and_the_own_one_is_not(work: Path) -> None:
    work.chmod(0o770)
    judge(work)
    os.chown(work, -1, STRANGER)
    with pytest.raises(Refused, match="can be written by others"):
        judge(work)


@as_root
@pytest.mark.parametrize("place", ["", ".."])
def test_what_belongs_to_another_user_is_refused(work: Path, place: str) -> None:
    os.chown(work / place, STRANGER, -1)
    with pytest.raises(Refused, match=f"belongs to user {STRANGER}"):
        judge(work)


@as_root
def test_a_link_is_followed_and_whose_it_is_counts(work: Path, tmp_path: Path) -> None:
    link, middle = tmp_path / "link", tmp_path / "middle"
    middle.symlink_to(work)
    link.symlink_to("middle")
    judge(link / "node")
    os.chown(middle, STRANGER, -1, follow_symlinks=False)
    with pytest.raises(Refused, match=f"is a symbolic link of user {STRANGER}"):
        judge(link / "node")
    os.chown(middle, 0, -1, follow_symlinks=False)
    work.parent.chmod(0o777)
    with pytest.raises(Refused, match="can be written by others"):
        judge(link / "node")


def test_links_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Refused, match="too many symbolic links"):
        judge(tmp_path / "a")


def test_it_is_looked_at_once_and_before_anything_in_it_is_read(work: Path) -> None:
    (work / "lock.json").write_text("a lie")
    host = OwnDirectoryHost(LocalHost("cp1"), str(work))
    work.chmod(0o777)
    assert host.run(Command(("echo", "elsewhere"), 30.0)).stdout == "elsewhere\n"
    with pytest.raises(Refused):
        host.run(Command(("cat", f"{work}/lock.json"), 30.0))
    work.chmod(0o700)
    assert host.run(Command(("cat", f"{work}/lock.json"), 30.0)).stdout == "a lie"
