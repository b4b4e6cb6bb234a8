"""The arguments and options that more than one command has."""

from __future__ import annotations

from typing import Annotated

import typer

Yes = Annotated[bool, typer.Option("--yes", help="Approve what an operator normally approves.")]
NoAutoRollback = Annotated[
    bool, typer.Option("--no-auto-rollback", help="Stop and ask when the upgrade fails, instead of rolling back.")
]
ConfirmCluster = Annotated[
    str | None,
    typer.Option("--confirm-cluster", metavar="NAME", help="The cluster's name, when going back loses writes."),
]
Offsite = Annotated[
    list[str] | None,
    typer.Option("--offsite", metavar="URL", help="Off-site target instead of the configured ones; may be repeated."),
]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Take the lock of the cluster over from a run that will not go on.")
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without", metavar="NODE", help="Give up for good a node whose machine does not answer; may be repeated."
    ),
]
Everything = Annotated[
    bool,
    typer.Option("--everything", help="Take etcd's data back too where one control plane alone would go back."),
]
TargetVersion = Annotated[
    str | None,
    typer.Argument(
        metavar="VERSION",
        help="The version, such as v1.28.0. [default: the next minor]",
    ),
]
RunName = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="The run's id, or its beginning. [default: the newest]",
    ),
]
Remote = Annotated[bool, typer.Option("--remote", help="Look at the off-site targets too.")]
BundleName = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="The bundle's name.",
        show_default=False,
    ),
]
