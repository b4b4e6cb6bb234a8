"""systemd's programs, which judge units without a running systemd."""

from __future__ import annotations

import os
import shutil
import subprocess


def there() -> str:
    """The path of systemd-analyze; the package is installed where it is missing and this is root."""
    if shutil.which("systemd-analyze") is None and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for argv in (("apt-get", "update"), ("apt-get", "install", "--yes", "--no-install-recommends", "systemd")):
            subprocess.run(argv, env=environment, check=True, timeout=600, capture_output=True)
    found = shutil.which("systemd-analyze")
    assert found, "systemd-analyze is missing: install the package systemd"
    return found
