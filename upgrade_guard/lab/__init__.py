"""A cluster to rehearse on: real etcd, simulated nodes."""
