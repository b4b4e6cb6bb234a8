"""Memory: the only room that knows SQL.

Importing it costs little: SQLAlchemy and Alembic are loaded by `Journal.open` alone.
"""

from upgrade_guard.journal.export import LONGEST_LINE, audited_export
from upgrade_guard.journal.journal import Journal
from upgrade_guard.journal.lock import Holder, RunLock

JOURNAL_FILE = "journal.sqlite"
LOCK_FILE = "run.lock"

__all__ = ["JOURNAL_FILE", "LOCK_FILE", "LONGEST_LINE", "Holder", "Journal", "RunLock", "audited_export"]
