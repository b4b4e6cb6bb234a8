"""One containerd store with the images of both versions, imported once; every node gets hard links of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from proving import images, node_image
from proving.ground import NEW, OLD, cache, made_of, outdate, podman, run, until

BOX = ("--privileged", "--systemd=always", "--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/tmp")
LIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768")
"""What a container with systemd and containerd inside needs; runc wants both limits set."""


def seed() -> Path:
    """The directory whose `containerd` is such a store."""
    for version in (OLD, NEW):
        images.of(version)
    system = node_image.base()
    made = cache() / f"seed-{made_of(images.archives().name, system)}"
    outdate(made, "seed-*")
    if (made / "complete").exists():
        return made
    shutil.rmtree(made, ignore_errors=True)
    (made / "containerd").mkdir(parents=True)
    name = "upgrade-guard-proving-seed"
    podman("rm", "-f", "-t", "0", name, check=False)
    volumes = ("-v", f"{made}/containerd:/var/lib/containerd", "-v", f"{images.archives()}:/images:ro")
    podman("run", "-d", "--name", name, *BOX, *LIMITS, *volumes, system, "/sbin/init")
    try:
        active = ("exec", name, "systemctl", "is-active", "containerd")
        until(lambda: podman(*active, check=False).stdout.strip() == "active", 60)
        for version in (OLD, NEW):
            for archive in sorted((images.archives() / version).glob("*.tar")):
                there = f"/images/{version}/{archive.name}"
                podman("exec", name, "ctr", "-n", "k8s.io", "images", "import", there, timeout=600)
        podman("exec", name, "systemctl", "stop", "containerd")
    finally:
        podman("rm", "-f", "-t", "0", name, check=False)
    (made / "complete").touch()
    return made


def stock(place: Path) -> None:
    """A containerd directory with all images: content never changes and is linked, databases are copied."""
    if place.exists():
        return
    source = seed() / "containerd"
    place.mkdir(parents=True)
    run("cp", "-al", f"{source}/.", place)
    for database in source.rglob("*.db"):
        run("cp", "--remove-destination", "-p", database, place / database.relative_to(source))
