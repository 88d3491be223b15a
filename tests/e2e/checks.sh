#!/usr/bin/env bash
# What e2e.sh checks, beside the node. Each check prints one line; the first that fails shows what is known and ends
# the run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/lib.sh
. tests/e2e/postgres.sh

system=whimbrel-system
release=whimbrel
install_options=(--namespace "$system" --set leaderElection.duration=5s --set leaderElection.renewDeadline=3s
  --set leaderElection.renewInterval=500ms --wait --timeout 60s)

passed=0
ok() {
  passed=$((passed + 1))
  say "ok    $*"
}

failed() {
  say "FAIL  $*"
  {
    kubectl get all,databases.whimbrel.dev,migrations.whimbrel.dev --all-namespaces -o wide
    kubectl describe --namespace "$system" pods | tail -n 40
    kubectl logs --namespace "$system" --selector app.kubernetes.io/name=whimbrel --tail 60 --prefix
    kubectl get --namespace shop migrations,databases.whimbrel.dev -o yaml
    grep "^E" "$NODE_DIR"/kubelet.log | tail -n 10
    tail -n 20 "$NODE_DIR"/pg/primary.log
  } 2>&1 | sed 's/^/      /'
  exit 1
}

# eventually SECONDS WHAT COMMAND...
eventually() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || failed "$what"
    sleep 0.2
  done
  ok "$what"
}

check() {
  local what=$1
  shift
  if "$@" >"$NODE_DIR/check.log" 2>&1; then ok "$what"; else
    cat "$NODE_DIR/check.log"
    failed "$what"
  fi
}

# The Pods of the operator that run and are not about to end.
pods() {
  kubectl get pods --namespace "$system" --selector app.kubernetes.io/name=whimbrel --output go-template='{{range .items}}
    {{- if and (eq .status.phase "Running") (not .metadata.deletionTimestamp)}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}'
}

no_pods() { [ -z "$(kubectl get pods --namespace "$system" --output name)" ]; }

# ask POD PATH: through the API server.
ask() { kubectl --request-timeout 3s get --raw "/api/v1/namespaces/$system/pods/$1:8080/proxy$2"; }

leaders() {
  local pod
  for pod in $(pods); do
    ! ask "$pod" /readyz | grep -q '"role":"leader"' || echo "$pod"
  done
}

one_leader() { [ "$(leaders | wc -l)" -eq 1 ]; }
another_leader() { one_leader && [ "$(leaders)" != "$1" ]; }

check_image() {
  check "the image imports" ctr images import "$IMAGE"
  tar --extract --to-stdout --file "$IMAGE" --wildcards '*.tar' | tar --extract --directory "$NODE_DIR" ./whimbrel
  check "its binary runs" "$NODE_DIR/whimbrel" version
}

check_install() {
  kubectl create namespace "$system"
  # The chart says that it satisfies this profile: the API server holds it to that.
  kubectl label namespace "$system" pod-security.kubernetes.io/enforce=restricted
  check "helm install --wait" helm install "$release" charts/whimbrel "${install_options[@]}"
  check "two Pods are ready" test "$(pods | wc -l)" -eq 2
  eventually 20 "exactly one of them leads" one_leader
  check "/healthz answers" ask "$(pods | head -n 1)" /healthz
  check "/metrics is OpenMetrics" grep -q '^# EOF' <(ask "$(pods | head -n 1)" /metrics)
}

check_takeover() {
  local leader
  leader=$(leaders)
  kubectl delete pod --namespace "$system" "$leader" --wait=false >/dev/null
  eventually 15 "another takes over when the leader's Pod is deleted" another_leader "$leader"
  check "the Deployment is whole again" kubectl rollout status --namespace "$system" deployment/whimbrel --timeout 40s
}

check_sample() {
  kubectl create namespace shop
  kubectl create configmap --namespace shop shop-db-ca --from-file ca.crt="$NODE_DIR/ca.crt"
  check "the samples are accepted" kubectl apply --filename deploy/samples/metricsprovider.yaml \
    --filename <(sed "s/change-me/$password/" deploy/samples/database.yaml)
  check "the Database is Ready" kubectl wait --namespace shop databases.whimbrel.dev/shop --for=condition=Ready --timeout 30s
  check "the first migration is accepted" kubectl apply --filename deploy/samples/migration.yaml
  check "it is Ready" kubectl wait --namespace shop migrations/add-subscription-tier --for=condition=Ready --timeout 30s
  check "the primary has the column" has_column primary
  check "so has the copy" has_column copy
  kubectl get --namespace shop migrations | sed 's/^/      /'
}

check_upgrade() {
  local before
  before=$(ddl_statements)
  check "helm upgrade --wait" helm upgrade "$release" charts/whimbrel "${install_options[@]}" --set log.format=text
  eventually 20 "exactly one leads after the upgrade" one_leader
  check "the migration is still Ready" kubectl wait --namespace shop migrations/add-subscription-tier \
    --for=condition=Ready --timeout 20s
  check "nothing ran again" test "$(ddl_statements)" = "$before"
}

requests() { wc -l <"$NODE_DIR/audit.log"; }

# none_refused COUNT: of the requests behind the first COUNT.
none_refused() {
  tail -n "+$(($1 + 1))" "$NODE_DIR/audit.log" >"$NODE_DIR/requests.log"
  grep -q '"code":200' "$NODE_DIR/requests.log" && ! grep '"code":403' "$NODE_DIR/requests.log"
}

check_uninstall() {
  check "the API server refused the operator nothing" none_refused 0
  check "helm uninstall" helm uninstall "$release" --namespace "$system" --wait --timeout 60s
  eventually 30 "no Pod is left" no_pods
  check "the definitions are left" kubectl get crd migrations.whimbrel.dev databases.whimbrel.dev metricsproviders.whimbrel.dev
  check "the Migration is left" kubectl get --namespace shop migration add-subscription-tier
  check "the column is left" has_column primary
}

# A second Migration like the sample, in that namespace.
second() {
  sed -e "s/namespace: shop/namespace: $1/" -e s/add-subscription-tier/add-note/ -e s/subscription_tier/note/ \
    -e s/20261120093000/20261120093001/ deploy/samples/migration.yaml
}

left_alone() {
  [ "$(kubectl get --namespace "$1" migration add-note --output 'jsonpath={.status}')" = '{"observedGeneration":-1}' ]
}

check_namespaces() {
  local before
  # The Pods of the last install asked until their end, when they had no rights any more.
  before=$(requests)
  check "helm install again, with rights in one namespace" helm install "$release" charts/whimbrel "${install_options[@]}" \
    --set rbac.scope=namespaces --set 'watchNamespaces={shop}'
  eventually 20 "one leads again" one_leader
  kubectl create namespace elsewhere
  check "another migration is accepted" kubectl apply --filename <(second elsewhere) --filename <(second shop)
  check "it is Ready there" kubectl wait --namespace shop migrations/add-note --for=condition=Ready --timeout 30s
  check "elsewhere it is left alone" left_alone elsewhere
  check "again nothing was refused" none_refused "$before"
}

check_image
start_servers
check_install
check_takeover
check_sample
check_upgrade
check_uninstall
check_namespaces
say "e2e: $passed checks passed in $SECONDS s"
