#!/usr/bin/env bash
# The node itself; run.sh starts this as the first process of the namespaces. Configuration first, then the components
# in the order of their needs, then the command.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"

export NODE_IP=172.31.255.1 NODE_DIR=/run/node
admin=node-admin
services=10.96.0.0/16

cache=$(cache_dir)
kubernetes=$cache/kubernetes-$(version_of k8s.io/kubernetes "$here/../kubernetes/go.mod")
helm=$cache/helm-$(version_of helm.sh/helm/v4 "$here/../helm/go.mod")
export PATH="${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS:}$kubernetes:$helm:$PATH:/usr/sbin:/sbin"
export HOME=$NODE_DIR/home TMPDIR=$NODE_DIR/tmp KUBECONFIG=$NODE_DIR/admin.kubeconfig
export CONTAINERD_ADDRESS=$NODE_DIR/containerd.sock CONTAINERD_NAMESPACE=k8s.io

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >"$NODE_DIR/await.log" 2>&1; do
    if [ $SECONDS -ge $until ]; then
      tail -n 5 "$NODE_DIR/await.log" "$NODE_DIR"/*.log >&2
      die "$what did not happen in time"
    fi
    sleep 0.1
  done
}

# start NAME COMMAND...: in the background, with a log of its own.
start() {
  local name=$1
  shift
  "$@" >"$NODE_DIR/$name.log" 2>&1 &
}

prepare_mounts() {
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 tmpfs /run
  mount -t tmpfs -o mode=755 tmpfs /var/lib
  mkdir -p "$NODE_DIR/home" "$NODE_DIR/tmp" "$NODE_DIR/cni" /var/lib/kubelet
  # Mounts that Pods share with the kubelet.
  mount --make-rshared /
  hostname node
}

prepare_network() {
  ip link set lo up
  ip link add node0 type bridge
  # The second address is for a second server; both are reached from Pods.
  ip address add "$NODE_IP/24" dev node0
  ip address add 172.31.255.2/24 dev node0
  ip link set node0 up
  ip route add default dev node0
  echo 1 >/proc/sys/net/ipv4/ip_forward
}

write_configuration() {
  openssl genrsa -out "$NODE_DIR/accounts.key" 2048 2>/dev/null
  printf '%s,admin,admin,"system:masters"\n' "$admin" >"$NODE_DIR/tokens.csv"
  sed -e "s#@DIR@#$NODE_DIR#g" -e "s#@CNI@#$(cni_directory)#g" "$here/containerd.toml" >"$NODE_DIR/containerd.toml"
  sed -e "s#@DIR@#$NODE_DIR#g" -e "s#@IP@#$NODE_IP#g" "$here/kubelet.yaml" >"$NODE_DIR/kubelet.yaml"
  sed -e "s#@DIR@#$NODE_DIR#g" "$here/kube-proxy.yaml" >"$NODE_DIR/kube-proxy.yaml"
  cp "$here/audit.yaml" "$NODE_DIR/audit.yaml"
  cp "$here/bridge.conflist" "$NODE_DIR/cni/"
}

cni_directory() {
  local directory
  for directory in /usr/lib/cni /opt/cni/bin; do
    [ ! -x "$directory/bridge" ] || { echo "$directory"; return; }
  done
  die "the CNI plugins are missing: tests/setup/packages.sh node"
}

write_kubeconfig() {
  kubectl config set-cluster node --server "https://$NODE_IP:6443" --certificate-authority "$NODE_DIR/pki/apiserver.crt" --embed-certs
  kubectl config set-credentials admin --token "$admin"
  kubectl config set-context node --cluster node --user admin
  kubectl config use-context node
} >/dev/null

start_control_plane() {
  start etcd etcd --unsafe-no-fsync --data-dir "$NODE_DIR/etcd" --listen-peer-urls http://127.0.0.1:2380 \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
  start kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --cert-dir "$NODE_DIR/pki" \
    --bind-address "$NODE_IP" --advertise-address "$NODE_IP" --service-cluster-ip-range "$services" \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$NODE_DIR/accounts.key" \
    --service-account-signing-key-file "$NODE_DIR/accounts.key" --token-auth-file "$NODE_DIR/tokens.csv" \
    --authorization-mode Node,RBAC --allow-privileged --kubelet-preferred-address-types InternalIP \
    --audit-policy-file "$NODE_DIR/audit.yaml" --audit-log-path "$NODE_DIR/audit.log"
  await 30 "the certificate of the API server" test -s "$NODE_DIR/pki/apiserver.crt"
  write_kubeconfig
  await 40 "the API server" kubectl get --raw /readyz
  start kube-controller-manager kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false \
    --root-ca-file "$NODE_DIR/pki/apiserver.crt" --service-account-private-key-file "$NODE_DIR/accounts.key" \
    --use-service-account-credentials
  start kube-scheduler kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false
}

start_runtime() {
  start containerd containerd --config "$NODE_DIR/containerd.toml"
  cc -static -O2 -o "$NODE_DIR/pause" "$here/pause.c"
  BINARY=$NODE_DIR/pause TAG=pause:node "$here/../../../deploy/image/build.sh" "$NODE_DIR/pause.tar" >"$NODE_DIR/pause.log"
  await 20 "containerd" ctr version
  ctr images import "$NODE_DIR/pause.tar" >>"$NODE_DIR/pause.log"
}

start_node() {
  start dnsmasq dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
    --listen-address "$NODE_IP" --pid-file= --user=root --address=/shop-primary.shop.svc/172.31.255.1 \
    --address=/shop-copy.shop.svc/172.31.255.2
  start kube-proxy kube-proxy --config "$NODE_DIR/kube-proxy.yaml" --hostname-override node
  start kubelet kubelet --kubeconfig "$KUBECONFIG" --config "$NODE_DIR/kubelet.yaml" --node-ip "$NODE_IP" \
    --hostname-override node --root-dir /var/lib/kubelet
  await 40 "the node" kubectl wait --for=condition=Ready node/node --timeout=1s
}

prepare_mounts
prepare_network
write_configuration
start_runtime &
runtime=$!
start_control_plane
wait "$runtime"
start_node
say "a node is ready after $SECONDS s"
"$@"
