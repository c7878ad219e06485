{{- define "quorate.labels" -}}
app.kubernetes.io/name: quorate
app.kubernetes.io/part-of: quorate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* A service account, its role and what binds the two: name, rules, root. */ -}}
{{- define "quorate.account" }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "quorate.labels" .root | nindent 4 }}
  {{- with .root.Values.serviceAccounts.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "quorate.labels" .root | nindent 4 }}
rules: {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "quorate.labels" .root | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .name }}}
subjects:
  - {kind: ServiceAccount, name: {{ .name }}, namespace: {{ .root.Release.Namespace }}}
{{- end }}

{{- define "quorate.hasKeys" -}}
{{- if or .Values.s3.existingSecret .Values.s3.accessKey }}true{{ end }}
{{- end }}

{{- /* The port of an address; nothing where it is that of https, or there is no address. */ -}}
{{- define "quorate.port" -}}
{{- $host := trimSuffix "/" . | trimPrefix "https://" | trimPrefix "http://" -}}
{{- if regexMatch ":[0-9]+$" $host }}{{ regexFind "[0-9]+$" $host }}
{{- else if hasPrefix "http://" . }}80{{ end }}
{{- end }}

{{- /* The host of an address. */ -}}
{{- define "quorate.host" -}}
{{- regexReplaceAll ":[0-9]+$" (trimSuffix "/" . | trimPrefix "https://" | trimPrefix "http://") "" -}}
{{- end }}

{{- /* What all pods may reach. */ -}}
{{- define "quorate.egress" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
    {{- $ports := .Values.networkPolicy.ports }}
    {{- with include "quorate.port" .Values.s3.endpoint }}{{ $ports = append $ports (int .) }}{{ end }}
    {{- range $ports | uniq }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
{{- with .Values.networkPolicy.egress }}
{{ toYaml . }}
{{- end }}
{{- end }}
