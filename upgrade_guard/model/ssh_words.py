"""What may be told to ssh: destinations that are nothing else, and the options that an operator may set."""

from __future__ import annotations

import re

# Of ssh_config(5): how a machine is reached and who we are there. Nothing that starts programs here but to connect,
# forwards anything, or decides by itself whether a host key is believed.
OPTIONS: frozenset[str] = frozenset(
    """
    AddressFamily BindAddress BindInterface CASignatureAlgorithms CertificateFile Ciphers Compression
    ConnectionAttempts ConnectTimeout GlobalKnownHostsFile GSSAPIAuthentication HashKnownHosts HostKeyAlgorithms
    HostKeyAlias IdentitiesOnly IdentityAgent IdentityFile IPQoS KexAlgorithms KnownHostsCommand LogLevel MACs
    PKCS11Provider Port PreferredAuthentications ProxyCommand ProxyJump PubkeyAcceptedAlgorithms
    PubkeyAcceptedKeyTypes PubkeyAuthentication RekeyLimit RequiredRSASize RevokedHostKeys SecurityKeyProvider
    ServerAliveCountMax ServerAliveInterval StrictHostKeyChecking TCPKeepAlive UpdateHostKeys User UserKnownHostsFile
    """.split()  # noqa: SIM905 - a list of words
)
_NAMES = {name.lower(): name for name in OPTIONS}
# Settings of the options above that would let an unknown machine in.
_CHECKING = ("yes", "accept-new")
_SHOWN = 100  # characters of what is refused
_USER = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._@+$\\-]*")
_HOST = re.compile(r"[A-Za-z0-9._:\[][A-Za-z0-9._:%\[\]-]*")


def checked_destination(text: str) -> str:
    """`host`, `user@host` or `ssh://[user@]host[:port]`, as it was given.

    Raises ValueError(why) for what ssh, or a ProxyCommand that gets its parts, could take for anything else.
    """
    bare = text.removeprefix("ssh://")
    user, at, host = bare.rpartition("@")
    if not host or host.startswith("-") or user.startswith("-") or (at and not user):
        raise ValueError('neither the user nor the host may be empty or begin with "-"')
    if not _HOST.fullmatch(host):
        raise ValueError("a host is letters, digits and . _ - : % [ ]")
    if user and (not _USER.fullmatch(user) or user.endswith("\\")):
        raise ValueError("a user is letters, digits and . _ - + @ $ \\")
    return text


def checked_option(text: str) -> tuple[str, str]:
    """The name, as ssh_config(5) spells it, and the value of "Name=value".

    Raises ValueError(why) for an option that is not among those an operator may set, and for a value that would let
    a machine in whose key is not known.
    """
    name, _, value = text.replace("=", " ", 1).strip().partition(" ")
    value = value.strip()
    if not text.isprintable() or not re.fullmatch(r"[A-Za-z0-9]+", name) or not value:
        raise ValueError(f'{text[:_SHOWN]!r} is not an ssh option: write "Name=value"')
    known = _NAMES.get(name.lower())
    if known is None:
        raise ValueError(f"the ssh option {name[:_SHOWN]} cannot be set here; these can: " + ", ".join(sorted(OPTIONS)))
    if known == "StrictHostKeyChecking" and value not in _CHECKING:
        raise ValueError("host keys are always checked: write StrictHostKeyChecking=accept-new, or add the key")
    if known == "KnownHostsCommand" and value != "none":
        raise ValueError("host keys are always checked: no command answers for them; write KnownHostsCommand=none")
    return known, value
