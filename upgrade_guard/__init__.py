"""upgrade-guard: a guarded Kubernetes upgrade for on-premises kubeadm clusters."""

__version__ = "0.1.0"
