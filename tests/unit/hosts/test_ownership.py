"""Whose is a directory? Asked as sshd asks it, before anything in it is believed."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from upgrade_guard.errors import Refused
from upgrade_guard.hosts import ownership
from upgrade_guard.hosts.ownership import is_own_group, refuse_foreign, refuse_foreign_content

STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A directory of ours with something in it."""
    (tmp_path / "above" / "state" / "etcd" / "3.5.9-0").mkdir(parents=True, mode=0o700)
    (tmp_path / "above" / "state" / "etcd" / "3.5.9-0" / "etcdctl").touch(mode=0o700)
    return tmp_path / "above" / "state"


def test_what_is_ours_alone_is_fine(ours: Path) -> None:
    refuse_foreign(ours)
    refuse_foreign_content(ours)
    refuse_foreign(ours / "not" / "there" / "yet")
    refuse_foreign_content(ours / "not")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720, 0o702])
@pytest.mark.parametrize("place", [".", ".."])
def test_a_directory_that_others_can_write_is_refused_with_the_cure(
    ours: Path, place: str, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "is_own_group", lambda *_: False)
    wrong = (ours / place).resolve()
    wrong.chmod(mode)
    with pytest.raises(Refused, match=f"^{wrong} can be written by ") as refused:
        refuse_foreign(ours)
    assert refused.value.hint.endswith(f"chmod go-w {wrong}")

    wrong.chmod(mode & ~0o022)
    refuse_foreign(ours)


@pytest.mark.parametrize(
    ("name", "members", "main", "ours_alone"),
    [
        ("ops", [], 1000, True),
        ("ops", ["ops"], 1000, True),
        ("ops", ["ops", "guest"], 1000, False),
        ("staff", [], 1000, False),
        ("ops", [], 100, False),
    ],
)
def test_a_group_that_has_nobody_but_us_is_no_others(
    ours: Path, name: str, members: list[str], main: int, ours_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many systems give each user a group, and make directories that it can write (umask 002)."""
    user = pwd.struct_passwd(("ops", "x", os.geteuid(), main, "", "/home/ops", "/bin/sh"))
    monkeypatch.setattr(ownership.pwd, "getpwuid", lambda _: user)
    monkeypatch.setattr(ownership.grp, "getgrgid", lambda _: grp.struct_group((name, "x", 1000, members)))
    assert is_own_group(1000, os.geteuid()) is ours_alone


def test_what_our_own_group_can_write_is_fine(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "is_own_group", lambda *_: True)
    ours.parent.chmod(0o775)
    ours.chmod(0o770)
    refuse_foreign(ours)
    ours.parent.chmod(0o777)
    with pytest.raises(Refused, match="by everyone"):
        refuse_foreign(ours)


def test_a_sticky_directory_may_be_on_the_way_and_is_no_place_itself(ours: Path) -> None:
    ours.parent.chmod(0o1777)
    refuse_foreign(ours)
    with pytest.raises(Refused):
        refuse_foreign(ours.parent)


@as_root
@pytest.mark.parametrize("place", [".", ".."])
def test_a_directory_of_somebody_else_is_refused(ours: Path, place: str) -> None:
    os.chown((ours / place).resolve(), STRANGER, -1)
    with pytest.raises(Refused, match=f"belongs to user {STRANGER}"):
        refuse_foreign(ours)
    refuse_foreign(ours, us=STRANGER)  # what is root's is nobody's trap


@as_root
@pytest.mark.parametrize("what", ["etcd", "etcd/3.5.9-0"])
def test_what_somebody_else_left_in_a_directory_of_ours_is_refused(ours: Path, what: str) -> None:
    os.chown(ours / what, STRANGER, -1)
    refuse_foreign(ours)
    with pytest.raises(Refused, match=f"belongs to user {STRANGER}"):
        refuse_foreign_content(ours)


def test_what_others_can_write_in_a_directory_of_ours_is_refused(ours: Path) -> None:
    (ours / "etcd" / "3.5.9-0").chmod(0o707)
    with pytest.raises(Refused, match="can be written by everyone"):
        refuse_foreign_content(ours)


def test_a_link_is_followed_to_where_it_leads(ours: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("above/../above")
    refuse_foreign(tmp_path / "link" / "state")
    ours.parent.chmod(0o707)
    with pytest.raises(Refused, match=f"^{ours.parent} can be written"):
        refuse_foreign(tmp_path / "link" / "state")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "scratch").symlink_to(ours)
    with pytest.raises(Refused, match=f"^{ours.parent} can be written"):
        refuse_foreign_content(tmp_path / "other")


@as_root
def test_a_link_of_somebody_else_is_refused_wherever_it_leads(ours: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ours)
    os.lchown(tmp_path / "link", STRANGER, -1)
    with pytest.raises(Refused, match="is a symbolic link of user"):
        refuse_foreign(tmp_path / "link")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        refuse_foreign(tmp_path / "one")
