"""The log of this machine (journald, syslog), which may well be kept on another one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

SOCKET = Path("/dev/log")
TAG = "upgrade-guard"
_DAEMON_INFO = 3 * 8 + 6  # facility and severity, as syslog(3) counts them
_PATIENCE = 1.0  # seconds: a log that is stuck holds nobody up


def tell_system_log(line: str, path: Path = SOCKET) -> bool:
    """Write it there, where there is a log. Never raises: it is a witness, and no reason to stop.

    True when it was handed over.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.settimeout(_PATIENCE)
            log.connect(str(path))
            log.send(f"<{_DAEMON_INFO}>{TAG}[{os.getpid()}]: {line}".encode())
    except OSError:
        return False
    return True
