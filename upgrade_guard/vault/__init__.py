"""Bundles, their proof, their off-site copies."""
