"""What an operator can cure, with an exit code and a hint. Anything else is a bug and keeps its traceback.

Usable by every room; imports none.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """A promise to scripts: documented in docs/reference/exit-codes.md, only ever added to."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REFUSED = 3
    STEP_FAILED = 4
    LOCKED = 5
    DECISION_NEEDED = 6
    ROLLED_BACK = 7
    ROLLBACK_FAILED = 8
    INTERRUPTED = 130


EXIT_CODES: tuple[tuple[ExitCode, str, str], ...] = (
    (ExitCode.DONE, "Done, or there was nothing to do.", "Nothing."),
    (ExitCode.BUG, "A bug: something that no operator can cure.", "Report it with the file that the message names."),
    (ExitCode.USAGE, "Wrong usage or configuration. Nothing was changed.", "Correct what the message names."),
    (
        ExitCode.REFUSED,
        "A check or the gate refused. The refused step changed nothing.",
        "Cure the reasons that are listed, then `upgrade-guard resume`, or `upgrade-guard abort`.",
    ),
    (
        ExitCode.STEP_FAILED,
        "A step failed. The run stays where it truthfully is.",
        "Cure what the message names, then `upgrade-guard resume`.",
    ),
    (
        ExitCode.LOCKED,
        "Another process works on a run, or a run of another machine holds the cluster.",
        "Wait for it; `upgrade-guard status` says where it stands, or who holds the cluster.",
    ),
    (
        ExitCode.DECISION_NEEDED,
        "Only a person can decide how to go on, or approve it. The journal is consistent.",
        "`upgrade-guard status`, then one of the commands that the message names.",
    ),
    (
        ExitCode.ROLLED_BACK,
        "The upgrade failed; the cluster was brought back and verified.",
        "`upgrade-guard show` says what failed. The run is closed.",
    ),
    (
        ExitCode.ROLLBACK_FAILED,
        "The rollback, or a restore, stopped half-way. The cluster may be down; nothing was deleted.",
        "Cure what the message names, then `upgrade-guard resume`.",
    ),
    (
        ExitCode.INTERRUPTED,
        "Stopped by Ctrl-C, SIGTERM or a lost terminal. The journal is consistent.",
        "`upgrade-guard resume` goes on.",
    ),
)
"""Each exit code, what it means, and what to do: for docs/reference/exit-codes.md."""


class GuardError(Exception):
    """A problem with a cure.

    `message` says what and where, `hint` is one imperative line with a command to paste,
    `reasons` are all the findings behind it, not only the first.
    """

    exit_code: ExitCode = ExitCode.BUG
    code: str = "error"

    def __init__(self, message: str, *, hint: str = "", reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reasons = reasons


class UsageProblem(GuardError):
    """Wrong usage or configuration; nothing was touched."""

    exit_code = ExitCode.USAGE
    code = "usage"


class Refused(GuardError):
    """A check or the gate refused; nothing was changed by the refused step."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class StepFailed(GuardError):
    """A step failed; the run stays where it truthfully is and can be resumed."""

    exit_code = ExitCode.STEP_FAILED
    code = "step-failed"


class LockHeld(GuardError):
    """Another run holds the lock."""

    exit_code = ExitCode.LOCKED
    code = "locked"


class EvidenceLost(StepFailed):
    """The snapshot, its proof or its copy turned out to be no good: a new one has to be taken, which `resume` does."""

    code = "evidence-lost"


class DecisionNeeded(GuardError):
    """Only a person can decide how to go on."""

    exit_code = ExitCode.DECISION_NEEDED
    code = "decision-needed"


class RolledBack(GuardError):
    """The upgrade failed; the cluster was brought back and verified."""

    exit_code = ExitCode.ROLLED_BACK
    code = "rolled-back"


class RollbackFailed(GuardError):
    """The rollback itself failed; it can be resumed."""

    exit_code = ExitCode.ROLLBACK_FAILED
    code = "rollback-failed"


class Interrupted(GuardError):
    """An interrupt was asked for; the journal is consistent."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"


class HostUnreachable(StepFailed):
    """A command never reached its host, or the connection was lost: what it did is unknown."""

    code = "host-unreachable"


class CommandFailed(StepFailed):
    """A command ended with a bad exit status, or ran out of time (`exit_status` is None: its effect is unknown)."""

    code = "command-failed"

    def __init__(self, message: str, *, exit_status: int | None, stderr: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status
        self.stderr = stderr


class UnexpectedOutput(StepFailed):
    """A program printed something its parser does not know; the message carries the first line."""

    code = "unexpected-output"


class OutputTooLarge(UnexpectedOutput):
    """What was asked for is larger than it may be."""

    code = "too-large"


class JournalProblem(GuardError):
    """The journal cannot be used: newer version, edited rows, wrong file system, no permission."""

    exit_code = ExitCode.REFUSED
    code = "journal"
