{{/* What the operator may do with the objects that it works on; the same for a ClusterRole and for Roles. */}}
{{- define "whimbrel.rules" -}}
- apiGroups: [whimbrel.dev]
  resources: [databases, metricsproviders, migrations]
  verbs: [get, list, watch]
# The finalizer, while a run is active. A merge patch of the metadata is all that is sent; specs are never written.
- apiGroups: [whimbrel.dev]
  resources: [migrations]
  verbs: [patch]
# Server-side apply of the status.
- apiGroups: [whimbrel.dev]
  resources: [databases/status, metricsproviders/status, migrations/status]
  verbs: [patch]
# By name, where an object refers to them; never listed.
- apiGroups: [""]
  resources: [configmaps, secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
