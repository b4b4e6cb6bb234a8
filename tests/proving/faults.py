"""What breaks an upgrade as it happens to people: something in a mirror that is not what it says."""

from __future__ import annotations

import tempfile
from pathlib import Path

from proving import images, packages
from proving.cluster import ProvingNode
from proving.ground import NEW, podman, run
from proving.standing import SOURCE


def broken_kubelet(node: ProvingNode) -> str:
    """A second repository in the node's package source, with a newer build of the new kubelet that does not run.

    Returns the source as it was before.
    """
    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        broken = images.compiled("broken", images.BROKEN)
        packages.package("kubelet", NEW, place, program=broken, revision="1.2")
        (place / "Packages").write_text(run("dpkg-scanpackages", "-m", ".", cwd=place).stdout)
        node.run("mkdir", "-p", "/root/mirror")
        podman("cp", f"{place}/.", f"{node.name}:/root/mirror")
    node.run("chmod", "-R", "a+rX", "/root/mirror")
    before = node.read(SOURCE)
    node.write(SOURCE, f"{before}deb [trusted=yes] file:/root/mirror ./\n", mode="644")
    return before
