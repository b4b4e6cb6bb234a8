"""Copies off the control plane, each read back: a snapshot on the node it came from is no backup."""

from __future__ import annotations

from collections.abc import Callable

from upgrade_guard.errors import EvidenceLost, GuardError, Refused
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.run import CopyRecord, Event
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import COUNTED, copies_made, copy_to
from upgrade_guard.nodes.etcd_programs import own_directory
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.steps.step_helpers import observation
from upgrade_guard.vault.bundle import Bundle
from upgrade_guard.vault.targets import Keys, Target, open_target


def copies(site: Site, cluster: Cluster) -> Phase:
    """From verified to copied: as many equal copies as are required, one of them off the control plane."""
    urls = site.config.vault.offsite
    may_fail = len(urls) > site.config.vault.offsite_required

    def one(number: int, url: str) -> Step:
        return copy(
            site,
            number,
            url,
            bundle=lambda facts: bundle_of(site, facts),
            off_site=lambda: off_control_plane(site, cluster, url),
            must_be_off_site=True,
            may_fail=may_fail,
        )

    return Phase(
        "copy",
        "Off-site copies",
        steps=(
            *(one(number, url) for number, url in enumerate(urls, start=1)),
            enough(site),
        ),
        event=Event.COPIES_READ_BACK,
    )


def target(site: Site, url: str) -> Target:
    """The off-site target that the configuration names."""
    vault = site.config.vault
    control_dir = own_directory(site.config.state_dir) / "ssh"
    return open_target(
        url,
        ssh=site.config.ssh,
        transcript=site.transcript,
        control_dir=control_dir,
        pause=site.clock.pause,
        s3_file=vault.s3_file,
        digests_believed=vault.offsite_read_back == "digests",
        keys=Keys(vault.recipients, vault.allow_unencrypted_keys, vault.identity_file),
    )


def off_control_plane(site: Site, cluster: Cluster, url: str) -> tuple[bool, str]:
    """Does a copy at `url` survive the loss of every control plane? With the reason."""
    here = [node for node in cluster.control_planes if site.is_here(node)]
    devices = [site.on(node).files.device(node.etcd.data_dir) for node in here if node.etcd is not None]
    return target(site, url).off_control_plane(
        [name for node in cluster.control_planes for name in (node.internal_ip, node.name) if name],
        local_is_control_plane=bool(here),
        etcd_data_devices=devices,
        separate_storage=site.config.vault.separate_storage,
    )


def copy(
    site: Site,
    number: int,
    url: str,
    *,
    bundle: Callable[[Facts], Bundle],
    off_site: Callable[[], tuple[bool, str]],
    must_be_off_site: bool,
    may_fail: bool,
) -> Step:
    """One copy, read back in full. It is looked at again on every resume.

    A target beyond the required number may fail: the run goes on with the others and says so. `off_site` answers
    whether a copy there survives the loss of the control planes, with the reason.
    """
    failed: list[str] = []
    read_back: list[Seen] = []  # by the act of this process, a moment ago: once is enough

    def seen(whole: Bundle) -> Seen:
        problems = target(site, url).read_back(whole)
        if problems:
            return NotDone(f"{url}: {problems[0]}")
        off, why = off_site()
        return Done(
            {"target": url, "read_back": True, "off_control_plane": off, "why": why},
            records=(
                CopyRecord(
                    bundle=whole.name,
                    target=url,
                    location=f"{url.rstrip('/')}/{whole.name}",
                    sha256=whole.snapshot_sha256,
                    read_back=True,
                    off_control_plane=off,
                    copied_at=site.clock.now(),
                ),
            ),
        )

    def probe(facts: Facts) -> Seen:
        if failed:
            return Done({"target": url, "read_back": False, "off_control_plane": False, "why": failed[-1]})
        if read_back:
            return read_back.pop()
        whole = bundle(facts)
        try:
            return seen(whole)
        except GuardError as problem:  # what cannot be read is copied again, and that says whether it may fail
            return NotDone(f"{url}: {problem.message}")

    def act(facts: Facts) -> None:
        whole = bundle(facts)
        progress = lambda text: site.transcript.output("here", f"copy: {text}\n")  # noqa: E731 - one expression
        try:
            off, why = off_site()
            if not off and must_be_off_site and not may_fail:
                raise Refused(
                    f"{url} is not off-site: {why}", hint="name a target elsewhere: vault.offsite or --offsite URL"
                )
            target(site, url).copy(whole, progress)
            after = seen(whole)
            if isinstance(after, NotDone):
                raise EvidenceLost(
                    f"the copy does not read back equal: {after.why}", hint="try again: upgrade-guard resume"
                )
            read_back.append(after)
        except GuardError as problem:
            if not may_fail:
                raise
            failed.append(problem.message)

    return Step(copy_to(number), f"copy the bundle to {url} and read it back", probe, act, lasting=False)


def enough(site: Site) -> Step:
    """The required number of copies read back equal, at least one of them off the control plane."""

    def look(facts: Facts) -> Seen:
        made = copies_made(facts)
        equal = [one for one in made if one.read_back]
        required = site.config.vault.offsite_required
        if len(equal) < required:
            reasons = "; ".join(f"{one.target}: {one.why}" for one in made if not one.read_back)
            return NotDone(f"{len(equal)} of {required} required copies read back equal. {reasons}".strip())
        if not any(one.off_control_plane for one in equal):
            return NotDone("every copy is on a control-plane node")
        return Done({"copies": len(equal)})

    return observation(COUNTED, "count the copies", look)
