"""Runs the migrations on the connection that upgrade_guard/journal/versions.py hands over; it has none of its own."""

from alembic import context

from upgrade_guard.journal.models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
