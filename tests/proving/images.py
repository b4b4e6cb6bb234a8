"""Container images with one program each, as docker archives under the very names that kubeadm asks for."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

from proving import binaries
from proving.ground import COREDNS, ETCD, NEW, OLD, cache, made_of, outdate, run

PAUSE = """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void down(int sign) { exit(0); }
static void reap(int sign) { while (waitpid(-1, NULL, WNOHANG) > 0); }
int main(int count, char **words) {
  if (count > 1 && !strcmp(words[1], "-v")) { puts("pause.c"); return 0; } /* kubeadm's health check runs this */
  signal(SIGINT, down); signal(SIGTERM, down); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""
BROKEN = '#include <stdio.h>\nint main(void) { fputs("Error: this build is broken\\n", stderr); return 1; }\n'

SUITE = "bookworm"
PROXY_PACKAGES = "iptables,conntrack,kmod,ipset,nftables"
WITHOUT_DOCUMENTS = tuple(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale"))


def of(version: str) -> Path:
    """The directory of the archives that kubeadm of `version` would pull; `list` in it names them."""
    made = archives() / version
    if (made / "list").exists():
        return made
    made.mkdir(parents=True, exist_ok=True)
    programs = binaries.kubernetes(version)
    wanted = run(programs / "kubeadm", "config", "images", "list", "--kubernetes-version", f"v{version}").stdout
    for reference in wanted.split():
        name = reference.rpartition("/")[2].partition(":")[0]
        files, entry, base = content(name, reference, programs)
        write(made / f"{name}.tar", reference, files, entry, base)
    (made / "list").write_text(wanted)
    return made


def archives() -> Path:
    """The directory of every version's archives."""
    programs = (binaries.kubernetes(version).name for version in (OLD, NEW))
    made = cache() / f"images-{made_of(Path(__file__), Path(binaries.__file__), COREDNS, *ETCD.values(), *programs)}"
    outdate(made, "images-*")
    return made


def content(name: str, reference: str, programs: Path) -> tuple[dict[str, Path], str, Path | None]:
    """Files by their place in the image, the entry point, and a layer below for what needs more than one program."""
    if name == "pause":
        return {"/pause": compiled("pause", PAUSE)}, "/pause", None
    if name == "coredns":
        return {"/coredns": binaries.coredns() / "coredns"}, "/coredns", None
    if name == "etcd":
        series = ".".join(reference.rpartition(":")[2].split(".")[:2])
        place = binaries.etcd(series)
        return (
            {f"/usr/local/bin/{one}": place / one for one in ("etcd", "etcdctl", "etcdutl")},
            "/usr/local/bin/etcd",
            None,
        )
    base = proxy_base() if name == "kube-proxy" else None
    return {f"/usr/local/bin/{name}": programs / name}, f"/usr/local/bin/{name}", base


def broken(component: str, version: str) -> Path:
    """An archive under the name of that version's `component` whose program ends with an error at once."""
    made = archives() / f"broken-{component}-{version}.tar"
    if not made.exists():
        files = {f"/usr/local/bin/{component}": compiled("broken", BROKEN)}
        write(made, f"registry.k8s.io/{component}:v{version}", files, f"/usr/local/bin/{component}", None)
    return made


def compiled(name: str, source: str) -> Path:
    """A static program from a few lines of C."""
    made = cache() / "bin" / f"{name}-{made_of(source)}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(".part")
        with tempfile.TemporaryDirectory() as work:
            (Path(work) / "main.c").write_text(source)
            run("gcc", "-Os", "-static", "-o", part, Path(work) / "main.c")
        part.rename(made)
    return made


def proxy_base() -> Path:
    """kube-proxy calls iptables and conntrack: a small Debian below it."""
    return debian("proxy", PROXY_PACKAGES)


def debian(name: str, packages: str) -> Path:
    """A Debian with `packages` and what they need, as one archive."""
    made = cache() / f"{name}-{made_of(packages, SUITE, *WITHOUT_DOCUMENTS)}.tar"
    outdate(made, f"{name}-*.tar")
    if not made.exists():
        part = made.with_suffix(".part.tar")  # mmdebstrap chooses its format by the ending: a part needs one too
        options = ("--quiet", "--variant=minbase", f"--include={packages}", *WITHOUT_DOCUMENTS)
        run("mmdebstrap", *options, SUITE, part, timeout=1800)
        part.rename(made)
    return made


def write(archive: Path, reference: str, files: dict[str, Path], entry: str, base: Path | None) -> None:
    """A docker archive: one layer with `files`, perhaps one below it, and a configuration with the entry point."""
    layers = [base.read_bytes()] if base else []
    layers.append(layer(files, with_directories=base is None))
    digests = [hashlib.sha256(one).hexdigest() for one in layers]
    configuration = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": [entry],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{one}" for one in digests]},
        }
    ).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{one}/layer.tar" for one in digests]}]
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w") as tar:
        add(tar, name, configuration)
        for digest, one in zip(digests, layers, strict=True):
            add(tar, f"{digest}/layer.tar", one)
        add(tar, "manifest.json", json.dumps(manifest).encode())
    part.rename(archive)


def layer(files: dict[str, Path], *, with_directories: bool) -> bytes:
    """One layer; its directories too where no layer below has them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        made: set[str] = set()
        for place, source in files.items():
            parts = place.strip("/").split("/")
            for depth in range(1, len(parts)):
                directory = "/".join(parts[:depth])
                if with_directories and directory not in made:
                    member = tarfile.TarInfo(directory)
                    member.type, member.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(member)
                    made.add(directory)
            member = tarfile.TarInfo(place.strip("/"))
            member.size, member.mode = source.stat().st_size, 0o755
            with source.open("rb") as file:
                tar.addfile(member, file)
    return buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, io.BytesIO(content))
