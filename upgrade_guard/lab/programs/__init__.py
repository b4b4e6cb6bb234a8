"""The programs of a lab's nodes: kubeadm, kubectl, systemctl, apt-get and others, as far as an upgrade needs them."""
