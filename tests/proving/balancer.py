"""An haproxy in a container of its own before several API servers, as kubeadm's documentation sets one up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proving.ground import made_of, podman
from proving.images import debian
from proving.node_image import NAME, missing
from proving.store import LIMITS

PORT = 6443
PLACE = "/etc/haproxy/haproxy.cfg"

# kubeadm's docs/ha-considerations.md, but that it asks /readyz: an API server that goes down is left out sooner.
CONFIGURATION = """defaults
    mode tcp
    option redispatch
    retries 1
    timeout queue 20s
    timeout connect 5s
    timeout client 35s
    timeout server 35s
    timeout check 10s

frontend apiserver
    bind *:{port}
    default_backend apiservers

backend apiservers
    option httpchk
    http-check connect ssl
    http-check send meth GET uri /readyz
    http-check expect status 200
    balance roundrobin
{servers}
"""


def image() -> str:
    """A small Debian with haproxy, beside the image of the nodes, which need none."""
    made = debian("balancer", "haproxy")
    name = f"{NAME}:balancer-{made_of(made.name)}"
    if missing(name):
        podman("import", made, name, timeout=600)
    return name


def configuration(addresses: Sequence[str]) -> str:
    """For API servers at these addresses."""
    servers = [
        f"    server cp{number} {address}:{PORT} check verify none" for number, address in enumerate(addresses, 1)
    ]
    return CONFIGURATION.format(port=PORT, servers="\n".join(servers))


def start(network: str, address: str, addresses: Sequence[str], directory: Path) -> None:
    """Before the API servers at `addresses`, at an address of its own on that network. It goes with the cluster."""
    file = directory / "haproxy.cfg"
    file.write_text(configuration(addresses))
    name = ("--name", f"{network}-balancer", "--network", network, "--ip", address, "--label", f"proving={network}")
    podman("run", "-d", *name, *LIMITS, "-v", f"{file}:{PLACE}:ro", image(), "haproxy", "-db", "-f", PLACE)
