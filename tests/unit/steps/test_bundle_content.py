"""What an archive of a control plane has to hold, and what is told of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.nodes.test_site import CP1

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.cluster import COMPONENTS
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.steps.snapshot import large_and_left_out, refuse_lacking
from upgrade_guard.vault.manifest import NodeFile, NodeFiles

ROOT = "/mnt/big/kubernetes"  # where a symbolic link /etc/kubernetes leads
PATHS = (
    *(f"{ROOT}/manifests/{component}.yaml" for component in COMPONENTS),
    *(f"{ROOT}/{name}" for name in ("admin.conf", "pki/ca.crt", "pki/etcd/ca.crt")),
    "/var/lib/kubelet/config.yaml",
)


def file(path: str) -> NodeFile:
    return NodeFile(path=path, kind="file", mode=0o600, uid=0, gid=0, sha256="a" * 64)


WHOLE = NodeFiles(
    node="cp1",
    archive="files-cp1.tar.gz",
    manifests_dir=f"{ROOT}/manifests",
    present=tuple(map(file, PATHS)),
    absent=(),
    watched=(),
    packages={},
    holds=(),
)


def test_an_archive_with_all_of_it_is_taken() -> None:
    refuse_lacking(WHOLE)


@pytest.mark.parametrize("path", PATHS)
def test_an_archive_without_what_a_way_back_needs_is_refused(path: str) -> None:
    less = replace(WHOLE, present=tuple(one for one in WHOLE.present if one.path != path), left_out=(ROOT,))
    with pytest.raises(StepFailed, match=f"cannot take it back.*too large: {ROOT}") as refused:
        refuse_lacking(less)
    assert path.rpartition("/")[2] in refused.value.message


def test_what_is_large_is_told_and_what_is_usual_is_not() -> None:
    paths = ["/etc/kubernetes/tmp", "/var/lib/upgrade-guard/node", "/srv/audit"]
    assert large_and_left_out(paths, NodeSettings(), CP1) == ["/srv/audit"]
