{{- /* All objects beside the pod, as YAML documents: the one line of a file of your chart. */}}
{{- define "sidecache.objects" -}}
{{- $root := . -}}
{{- range $name := list "configMap" "secret" "podMonitor" "serviceMonitor" "prometheusRule" "dashboard" }}
{{- with include (printf "sidecache.%s" $name) $root }}
---
{{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sidecache.configMap" -}}
{{- if not .Values.sidecache.existingConfigMap }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "sidecache.configMapName" . }}
  labels: {{- include "sidecache.labels" . | nindent 4 }}
data:
  config.yaml: |
    {{- include "sidecache.config" . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "sidecache.secret" -}}
{{- $root := . -}}
{{- $data := dict -}}
{{- range $section, $key := dict "redis" "url" "admin" "token" "identity" "secret" }}
{{- with include "sidecache.secretValue" (list $root $section $key) }}
{{- $_ := set $data (printf "%s-%s" $section $key) (b64enc .) }}
{{- end }}
{{- end }}
{{- if $data }}
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "sidecache.fullname" . }}-secrets
  labels: {{- include "sidecache.labels" . | nindent 4 }}
type: Opaque
data: {{- toYaml $data | nindent 2 }}
{{- end }}
{{- end }}
