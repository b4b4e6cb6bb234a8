"""`ssh` to the machines of a lab, so that one of them can be lost: a program that is put before the real one on PATH.

It runs what it is given on this machine, as sshd would on the node. On a machine that is off, and when the power goes
while something runs there, it ends as ssh does on a lost connection: a message, and 255.
"""

from __future__ import annotations

import shlex

from upgrade_guard.lab.layout import LabSettings, Layout

SCRIPT = """#!/bin/sh
# ssh to the machines of the lab in {nodes}; everything else is left to the real ssh.
for word; do before=$last last=$word; done # ... -- DESTINATION COMMAND
child=
lost() {{
    [ -z "$child" ] || kill -s KILL -- "-$child" "$child" 2>/dev/null
    echo "ssh: connect to host $name port 22: No route to host" >&2
    exit 255
}}
if [ "$before" = -- ] && [ -d {nodes}/"${{last#root@}}" ]; then
    for word; do # -G asks what is in force; -O exit: there is no shared connection to end
        [ "$word" = -G ] && printf '%s\n' 'stricthostkeychecking true' 'userknownhostsfile {nodes}'/../known_hosts
    done
    exit 0
fi
name=${{before#root@}}
if [ "$before" = "$name" ] || ! [ -d {nodes}/"$name" ]; then
    PATH=${{PATH#{bin}:}}
    exec ssh "$@"
fi
trap lost TERM HUP
[ -e {off}/"$name" ] && lost
exec 3<&0
sh -c "exec $last" <&3 3<&- &
child=$!
exec 3<&-
wait "$child"
"""


def put_ssh(settings: LabSettings) -> None:
    """The program; `Layout.ssh` is where it is."""
    layout = Layout.of(settings)
    layout.ssh.parent.mkdir(parents=True, exist_ok=True)
    layout.ssh.write_text(
        SCRIPT.format(
            nodes=shlex.quote(str(layout.directory / "nodes")),
            off=shlex.quote(str(layout.off_mark("x").parent)),
            bin=shlex.quote(str(layout.ssh.parent)),
        )
    )
    layout.ssh.chmod(0o755)
