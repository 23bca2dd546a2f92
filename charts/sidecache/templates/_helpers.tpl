{{- define "sidecache.labels" -}}
{{ include "sidecache.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "sidecache.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sidecache.fullname" -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The namespace keeps services apart that share a Redis; the admin port stays on the pod's loopback. */}}
{{- define "sidecache.config" -}}
{{- $fixed := dict
      "listen" "0.0.0.0:8080"
      "ops" (dict "listen" "0.0.0.0:9901")
      "admin" (dict "listen" "127.0.0.1:9902")
      "origin" (dict "url" (printf "http://127.0.0.1:%d" (int .Values.origin.port))) }}
{{- if .Values.redis.existingSecret }}
{{- $namespace := printf "%s.%s" .Release.Namespace .Release.Name }}
{{- if gt (len $namespace) 64 }}{{ $namespace = sha256sum $namespace }}{{ end }}
{{- $_ := set $fixed "l2" (dict "url_file" "/etc/sidecache-redis/url" "namespace" $namespace) }}
{{- end }}
{{- mergeOverwrite (deepCopy .Values.config) $fixed | toYaml }}
{{- end }}
