"""What programs find in their environment: what is on these lists, and nothing else that an operator's shell carries.

Keys of an object store, tokens and passwords are nobody's business but ours, and variables such as ETCDCTL_ENDPOINTS or
KUBECONFIG would act as flags that nobody gave.
"""

from __future__ import annotations

from collections.abc import Mapping

# Where programs and their files are, who runs them, the time zone, and how the world is reached.
_OF_PROGRAMS = frozenset(
    """
    HOME LOGNAME PATH TERM TMPDIR TZ USER SSL_CERT_DIR SSL_CERT_FILE
    ALL_PROXY FTP_PROXY HTTPS_PROXY HTTP_PROXY NO_PROXY all_proxy ftp_proxy http_proxy https_proxy no_proxy
    """.split()  # noqa: SIM905 - a list of words
)
# ssh speaks to agents and to Kerberos, runs a ProxyCommand with the SHELL, and tells the other machine its language.
_OF_SSH = _OF_PROGRAMS | {"KRB5CCNAME", "KRB5_CONFIG", "LANG", "SHELL", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"}


def of_programs(environ: Mapping[str, str], path: str = "") -> dict[str, str]:
    """For a program on this machine: it speaks English, as parsers expect. `path` replaces PATH when given."""
    found = {name: value for name, value in environ.items() if name in _OF_PROGRAMS}
    return found | {"LC_ALL": "C"} | ({"PATH": path} if path else {})


def of_ssh(environ: Mapping[str, str]) -> dict[str, str]:
    """For ssh itself, and the ProxyCommand that it may start."""
    return {name: value for name, value in environ.items() if name in _OF_SSH or name.startswith("LC_")}
