"""For developers: `python -m upgrade_guard.migrations "what changes"` writes the next migration from the models."""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, create_engine

from upgrade_guard.journal import Journal
from upgrade_guard.journal.versions import KNOWN


def main(message: str) -> None:
    """Compare the models with a fresh journal. The new name then goes into KNOWN, and the text wants reading."""
    config = Config()
    config.set_main_option("script_location", str(files("upgrade_guard.migrations")).replace("%", "%%"))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.sqlite"
        Journal.open(path).close()
        engine = create_engine(URL.create("sqlite", database=str(path)))
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message, autogenerate=True, rev_id=f"{len(KNOWN) + 1:04d}")
        engine.dispose()


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
