"""Named questions about the cluster, answered by Findings."""
