# The commands of the runbook, prepared beforehand, so that nobody thinks or mistypes: bash -s STEP, inside a node.
set -euo pipefail
export KUBECONFIG=/etc/kubernetes/admin.conf
C="ctr -n k8s.io"

data() { sed -n 's/.*--data-dir=//p' /backup/kubernetes/manifests/etcd.yaml; }
ids() { $C containers ls -q "labels.\"io.kubernetes.container.name\"==$1"; }
running() { local tasks id; tasks=$($C tasks ls); for id in $(ids "$1"); do grep -q "^$id .*RUNNING" <<<"$tasks" && echo "$id"; done; true; }
halt() {
  local id
  for id in $(running "$1"); do $C tasks kill -s SIGTERM "$id" || true; done
  for _ in $(seq 30); do [ -z "$(running "$1")" ] && return; sleep 0.1; done
  for id in $(running "$1"); do $C tasks kill -s SIGKILL "$id" || true; done
  until [ -z "$(running "$1")" ]; do sleep 0.1; done
}
etcd_tools() {
  mkdir -p /run/etcd-image
  $C images mount "$(sed -n 's/.*image: //p' /backup/kubernetes/manifests/etcd.yaml)" /run/etcd-image >/dev/null
  mkdir -p /backup/bin && cp /run/etcd-image/usr/local/bin/etcdctl /run/etcd-image/usr/local/bin/etcdutl /backup/bin/
  $C images unmount --rm /run/etcd-image >/dev/null
}
packages() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --allow-downgrades --allow-change-held-packages "$@" >/dev/null
  apt-mark hold kubeadm kubelet kubectl >/dev/null
}
stop_api() {
  systemctl stop kubelet
  mkdir -p /etc/kubernetes.held && mv /etc/kubernetes/manifests/*.yaml /etc/kubernetes.held/
  for name in kube-controller-manager kube-scheduler kube-apiserver; do halt $name; done
}
stop_etcd() {
  halt etcd
  ! pgrep -x etcd
}
peer() { sed -n 's/.*--initial-advertise-peer-urls=//p' /backup/kubernetes/manifests/etcd.yaml; }
restore() {
  local dir; dir=$(data)
  mv "$dir/member" "$dir/.aside-$(date +%s)"
  /backup/bin/etcdutl snapshot restore /backup/pre.db --data-dir "$dir/.new" --name "$(hostname)" \
    --initial-cluster "$1" --initial-advertise-peer-urls "$(peer)" \
    --initial-cluster-token "$2" --bump-revision 1000000000 --mark-compacted
  mv "$dir/.new/member" "$dir/member" && rmdir "$dir/.new"
}
files() {
  cp -a /etc/kubernetes /etc/kubernetes.undone && find /etc/kubernetes -mindepth 1 -delete
  cp -a /backup/kubernetes/. /etc/kubernetes/
  rm -f /var/lib/kubelet/instance-config.yaml && cp -a /backup/kubelet/. /var/lib/kubelet/
  cp -a /backup/kubernetes.list /etc/apt/sources.list.d/
  if ! dpkg-query -W -f '${Package}=${Version}\n' kubeadm kubelet kubectl | cmp -s - /backup/packages; then
    apt-get update -qq
    packages $(cat /backup/packages)
  fi
}
start() {
  systemctl daemon-reload && systemctl restart kubelet
}

case $1 in
save) # what the way back needs: files, package versions, a snapshot
  rm -rf /backup && mkdir -p /backup/kubelet
  cp -a /etc/kubernetes /backup/kubernetes
  cp -a /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env /backup/kubelet/
  cp -a /etc/apt/sources.list.d/kubernetes.list /backup/
  dpkg-query -W -f '${Package}=${Version}\n' kubeadm kubelet kubectl >/backup/packages
  etcd_tools
  /backup/bin/etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
    --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key snapshot save /backup/pre.db
  ;;
source) # MINOR: where packages come from
  echo "deb [trusted=yes] file:/repo/$2 ./" >/etc/apt/sources.list.d/kubernetes.list
  apt-get update -qq
  ;;
packages) # NAME=VERSION...
  shift
  packages "$@"
  ;;
stop-api) stop_api ;;
stop-etcd) stop_etcd ;;
restore) restore "$2" "$3" ;; # MEMBERS TOKEN, as every control plane has them
files) files ;;
start) start ;;
back) # all of it, of a cluster with one control plane
  stop_api
  stop_etcd
  restore "$(hostname)=$(peer)" "by-hand-$(date +%s)"
  files
  start
  until [ "$(kubectl get --raw /readyz 2>/dev/null)" = ok ]; do sleep 0.5; done
  ;;
esac
