"""A cluster to rehearse on."""
