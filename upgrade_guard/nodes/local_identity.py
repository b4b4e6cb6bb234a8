"""On which machine are we? Asked so that a control plane that upgrades itself is not sought over ssh."""

from __future__ import annotations

import socket

from upgrade_guard.errors import GuardError
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command


def this_machine_is(node_name: str, internal_ip: str, here: Host) -> bool:
    """Is this machine the node of that name (kubeadm names nodes after their hostname, lower case) or that address?"""
    return node_name.lower() in own_names() or (bool(internal_ip) and internal_ip in own_addresses(here))


def own_names() -> frozenset[str]:
    """The hostname as it is and without its domain, lower case. No resolver is asked: it may hang."""
    name = socket.gethostname().lower()
    return frozenset({name, name.partition(".")[0]})


def own_addresses(here: Host) -> frozenset[str]:
    """This machine's addresses, loopback left out; none when `hostname` cannot say.

    Binding to an address would not tell: with `net.ipv4.ip_nonlocal_bind`, usual beside keepalived, that works for any.
    """
    try:
        result = here.run(Command(("hostname", "--all-ip-addresses"), timeout=10))
    except GuardError:
        return frozenset()
    return frozenset(result.stdout.split()) if result.ok else frozenset()


def names_of(host: Host) -> frozenset[str]:
    """What another machine calls itself, lower case, with and without its domain; nothing when it does not say."""
    result = host.run(Command(("uname", "-n"), timeout=15))
    name = result.stdout.strip().lower() if result.ok else ""
    return frozenset({name, name.partition(".")[0]}) - {""}
