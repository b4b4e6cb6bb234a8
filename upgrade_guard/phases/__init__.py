"""What an upgrade and a rollback are made of: Steps."""
