"""Kubernetes, etcd and CoreDNS from their published Go modules. About seven minutes a version on two cores, once."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

from proving.ground import COREDNS, CRI_TOOLS, ETCD, cache, made_of, run

KUBERNETES = (
    "kubeadm",
    "kubelet",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubectl",
)
COREDNS_PLUGINS = (
    "cache",
    "errors",
    "forward",
    "health",
    "kubernetes",
    "loadbalance",
    "log",
    "loop",
    "metrics",
    "ready",
    "reload",
)
GO = {"GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
BUILD_TIMEOUT = 3600.0


def kubernetes(version: str) -> Path:
    """The directory with the seven programs of that version.

    `k8s.io/kubernetes` keeps its staging modules at v0.0.0 behind replace directives, which Go ignores for a
    dependency; the same replacements are written against the published v0.MINOR.PATCH.
    """
    made = cache() / "bin" / f"kubernetes-{version}-{made_of(*KUBERNETES, *GO, *GO.values())}"
    if made.is_dir():
        return made
    with tempfile.TemporaryDirectory() as work:
        module = json.loads(
            run("go", "mod", "download", "-json", f"k8s.io/kubernetes@v{version}", cwd=Path(work), timeout=1800).stdout
        )
        their = Path(module["Dir"], "go.mod").read_text()
        (Path(work) / "go.mod").write_text(kubernetes_go_mod(their, version))
        imports = "".join(f'\t_ "k8s.io/kubernetes/cmd/{name}"\n' for name in KUBERNETES)
        (Path(work) / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\nimport (\n{imports})\n")
        run("go", "mod", "tidy", "-e", cwd=Path(work), env=GO, timeout=1800, check=False)
        package = "k8s.io/component-base/version"
        major, minor, _ = version.split(".")
        stamped = {
            "gitVersion": f"v{version}",
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
            "gitCommit": "0" * 40,
            "buildDate": "2024-01-01T00:00:00Z",
        }
        flags = " ".join(["-s", "-w", *(f"-X {package}.{name}={value}" for name, value in stamped.items())])
        build(Path(work), made, [f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES], flags)
    return made


def kubernetes_go_mod(theirs: str, version: str) -> str:
    """A go.mod that depends on that Kubernetes as if its staging modules were ordinary ones."""
    go = re.search(r"^go (\S+)", theirs, re.MULTILINE)
    lines = [
        "module proving/kubernetes",
        "",
        f"go {go[1] if go else '1.24'}",
        "",
        f"require k8s.io/kubernetes v{version}",
    ]
    lines.append("replace (")
    pattern = r"^\s*(?:replace\s+)?(\S+)(?:\s+v\S+)?\s+=>\s+(\S+)(?:[ \t]+(v\S+))?"
    for name, target, other in re.findall(pattern, theirs, re.MULTILINE):
        if target.startswith("./staging"):
            lines.append(f"\t{name} => {name} v0.{version.partition('.')[2]}")
        elif other:
            lines.append(f"\t{name} => {target} {other}")
    return "\n".join([*lines, ")", ""])


def etcd(series: str) -> Path:
    """The directory with etcd, etcdctl and etcdutl for images that kubeadm calls `series`.x."""
    version = ETCD[series]
    made = cache() / "bin" / f"etcd-{version}-{made_of(*GO, *GO.values())}"
    if made.is_dir():
        return made
    with tempfile.TemporaryDirectory() as work:
        modules = ("server", "etcdctl", "etcdutl")
        needs = "".join(f"\tgo.etcd.io/etcd/{name}/v3 {version}\n" for name in modules)
        (Path(work) / "go.mod").write_text(f"module proving/etcd\n\ngo 1.23\n\nrequire (\n{needs})\n")
        main = Path(work) / "cmd" / "etcd" / "main.go"
        main.parent.mkdir(parents=True)
        main.write_text(
            'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\n'
            "func main() { etcdmain.Main(os.Args) }\n"
        )
        (Path(work) / "tools.go").write_text(
            "//go:build tools\n\npackage tools\n\nimport (\n"
            '\t_ "go.etcd.io/etcd/etcdctl/v3"\n\t_ "go.etcd.io/etcd/etcdutl/v3"\n)\n'
        )
        run("go", "mod", "tidy", cwd=Path(work), env=GO, timeout=1800)
        build(Path(work), made, ["./cmd/etcd", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"], "-s -w")
    return made


def coredns() -> Path:
    """The directory with CoreDNS, built with the plugins of kubeadm's Corefile and no others."""
    made = cache() / "bin" / f"coredns-{COREDNS}-{made_of(*COREDNS_PLUGINS, *GO, *GO.values())}"
    if made.is_dir():
        return made
    with tempfile.TemporaryDirectory() as work:
        plugins = "".join(f'\t_ "github.com/coredns/coredns/plugin/{name}"\n' for name in COREDNS_PLUGINS)
        (Path(work) / "main.go").write_text(
            f'package main\n\nimport (\n\t"github.com/coredns/coredns/coremain"\n\n{plugins})\n\nfunc main() {{ coremain.Run() }}\n'  # noqa: E501 - Go, as it is formatted
        )
        (Path(work) / "go.mod").write_text(
            f"module proving/coredns\n\ngo 1.24\n\nrequire github.com/coredns/coredns {COREDNS}\n"
        )
        run("go", "mod", "tidy", cwd=Path(work), env=GO, timeout=1800)
        build(Path(work), made, ["."], "-s -w")
    return made


def cri_tools() -> Path:
    """The directory with crictl."""
    made = cache() / "bin" / f"cri-tools-{CRI_TOOLS}-{made_of(*GO, *GO.values())}"
    if made.is_dir():
        return made
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "go.mod").write_text(
            f"module proving/cri-tools\n\ngo 1.24\n\nrequire sigs.k8s.io/cri-tools {CRI_TOOLS}\n"
        )
        (Path(work) / "tools.go").write_text(
            '//go:build tools\n\npackage tools\n\nimport _ "sigs.k8s.io/cri-tools/cmd/crictl"\n'
        )
        run("go", "mod", "tidy", "-e", cwd=Path(work), env=GO, timeout=1800, check=False)
        build(Path(work), made, ["sigs.k8s.io/cri-tools/cmd/crictl"], "-s -w")
    return made


def build(work: Path, made: Path, packages: list[str], flags: str) -> None:
    """Into a directory of its own that gets its name only when it is complete."""
    part = made.with_name(f"{made.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    run(
        "go",
        "build",
        "-trimpath",
        "-ldflags",
        flags,
        "-o",
        f"{part}/",
        *packages,
        cwd=work,
        env=GO,
        timeout=BUILD_TIMEOUT,
    )
    part.rename(made)
