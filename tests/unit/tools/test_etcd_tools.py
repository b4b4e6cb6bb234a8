from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.errors import StepFailed
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.tools.containers import Containers
from upgrade_guard.tools.etcd_tools import EtcdTools, extract_etcd_tools
from upgrade_guard.tools.files import Files

IMAGE = "registry.k8s.io/etcd:3.5.9-0"
# Stands for containerd on the node: `images mount` shows what lies in IMAGE_DIR, and a mount is seen to be taken away.
CTR = """#!/bin/sh
case "$4" in
mount) [ "$5" = registry.k8s.io/etcd:3.5.9-0 ] || exit 1; cp -R "IMAGE_DIR/." "$6" ;;
unmount) [ "$5" = --rm ] || exit 64; rm -rf "$6"/usr; echo unmounted >> "IMAGE_DIR.log" ;;
*) exit 64 ;;
esac
"""


def program(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\n")
    path.chmod(0o755)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    directory = tmp_path / "image"
    program(directory / "usr/local/bin/etcd", "etcd Version: 3.5.9")
    program(directory / "usr/local/bin/etcdctl", "etcdctl version: 3.5.9")
    program(directory / "usr/local/bin/etcdutl", "etcdutl version: 3.5.9")
    ctr = tmp_path / "bin" / "ctr"
    ctr.parent.mkdir()
    ctr.write_text(CTR.replace("IMAGE_DIR", str(directory)))
    ctr.chmod(0o755)
    return directory


def extract(tmp_path: Path, *, anew: bool = False) -> EtcdTools:
    host = LocalHost("cp1", path=f"{tmp_path}/bin:/usr/bin:/bin")
    work = f"{tmp_path}/work"
    return extract_etcd_tools(Files(host, work_dir=work), Containers(host), IMAGE, f"{work}/etcd/3.5.9-0", anew=anew)


def test_takes_the_programs_out_of_the_image_once(image: Path, tmp_path: Path) -> None:
    directory = f"{tmp_path}/work/etcd/3.5.9-0"
    expected = EtcdTools(f"{directory}/etcd", f"{directory}/etcdctl", f"{directory}/etcdutl", "3.5.9")
    assert extract(tmp_path) == expected
    assert extract(tmp_path) == expected
    assert (tmp_path / "image.log").read_text() == "unmounted\n"
    assert [path.name for path in (tmp_path / "work" / "etcd").iterdir()] == ["3.5.9-0"]


def test_what_is_there_is_replaced_and_not_run_when_it_is_not_to_be_believed(image: Path, tmp_path: Path) -> None:
    there = tmp_path / "work" / "etcd" / "3.5.9-0"
    for name in ("etcd", "etcdctl"):
        program(there / name, "somebody else's")
        (there / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n")

    tools = extract(tmp_path, anew=True)

    assert tools.version == "3.5.9"
    assert Path(tools.etcdctl).read_bytes() == (image / "usr/local/bin/etcdctl").read_bytes()
    assert not (tmp_path / "run").exists()
    assert [path.name for path in there.parent.iterdir()] == ["3.5.9-0"]


def test_an_image_that_is_gone_leaves_what_is_there(image: Path, tmp_path: Path) -> None:
    extract(tmp_path)
    (tmp_path / "bin" / "ctr").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(StepFailed):
        extract(tmp_path, anew=True)
    assert {path.name for path in (tmp_path / "work/etcd/3.5.9-0").iterdir()} == {"etcd", "etcdctl", "etcdutl"}


def test_what_a_killed_extraction_left_is_removed_by_the_next(image: Path, tmp_path: Path) -> None:
    there = tmp_path / "work" / "etcd"
    (there / "3.5.9-0.mount-0a1b2c3d" / "usr").mkdir(parents=True)
    program(there / "3.5.9-0.part-0a1b2c3d" / "etcd", "half a set")
    program(there / "3.5.24-0" / "etcd", "another version")

    extract(tmp_path)

    assert {path.name for path in there.iterdir()} == {"3.5.9-0", "3.5.24-0"}
    assert (tmp_path / "image.log").read_text() == "unmounted\nunmounted\n"


def test_what_was_left_is_gone_before_anything_is_taken_out(image: Path, tmp_path: Path) -> None:
    """Who dies right after the programs are in their place has nobody who comes back to clear up."""
    program(image / "usr/local/bin/etcdctl", "etcdctl version: 3.6.8")
    left = tmp_path / "work/etcd/3.5.9-0.part-0a1b2c3d"
    program(left / "etcd", "half a set")
    with pytest.raises(StepFailed):
        extract(tmp_path)
    assert not left.exists()


def test_an_older_image_has_no_etcdutl(image: Path, tmp_path: Path) -> None:
    (image / "usr/local/bin/etcdutl").unlink()
    assert extract(tmp_path).etcdutl is None


def test_an_image_without_etcdctl_is_refused(image: Path, tmp_path: Path) -> None:
    (image / "usr/local/bin/etcdctl").unlink()
    with pytest.raises(StepFailed, match="has no etcd and etcdctl"):
        extract(tmp_path)


def test_programs_of_different_versions_are_refused(image: Path, tmp_path: Path) -> None:
    program(image / "usr/local/bin/etcdctl", "etcdctl version: 3.6.8")
    with pytest.raises(StepFailed, match=r"etcd 3\.5\.9 and etcdctl 3\.6\.8"):
        extract(tmp_path)
    assert not (tmp_path / "work/etcd/3.5.9-0").exists()
