{{- define "sidecache.podMonitor" -}}
{{- $given := .Values.sidecache.monitoring.podMonitor -}}
{{- if $given.enabled }}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "sidecache.fullname" . }}
  labels: {{- merge (deepCopy $given.labels) (include "sidecache.labels" . | fromYaml) | toYaml | nindent 4 }}
spec:
  selector:
    matchLabels: {{- include "sidecache.selectorLabels" . | nindent 6 }}
  podMetricsEndpoints:
    # A number: operators before 0.77 know it as targetPort only, and do not see names of init containers.
    - targetPort: {{ int .Values.sidecache.ports.ops }}
      {{- include "sidecache.scrape" $given | nindent 6 }}
{{- end }}
{{- end }}

{{- define "sidecache.serviceMonitor" -}}
{{- $given := .Values.sidecache.monitoring.serviceMonitor -}}
{{- if $given.enabled }}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "sidecache.fullname" . }}-metrics
  labels: {{- include "sidecache.metricsLabels" . | nindent 4 }}
spec:
  clusterIP: None
  # Draining pods are scraped, too.
  publishNotReadyAddresses: true
  selector: {{- include "sidecache.selectorLabels" . | nindent 4 }}
  ports:
    - {name: metrics, port: {{ int .Values.sidecache.ports.ops }}, targetPort: {{ int .Values.sidecache.ports.ops }}}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "sidecache.fullname" . }}
  labels: {{- merge (deepCopy $given.labels) (include "sidecache.labels" . | fromYaml) | toYaml | nindent 4 }}
spec:
  selector:
    matchLabels:
      {{- include "sidecache.selectorLabels" . | nindent 6 }}
      app.kubernetes.io/component: sidecache-metrics
  endpoints:
    - port: metrics
      {{- include "sidecache.scrape" $given | nindent 6 }}
{{- end }}
{{- end }}

{{- define "sidecache.metricsLabels" -}}
{{ include "sidecache.labels" . }}
app.kubernetes.io/component: sidecache-metrics
{{- end }}

{{- define "sidecache.scrape" -}}
path: /metrics
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
{{- with .relabelings }}
relabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sidecache.prometheusRule" -}}
{{- $given := .Values.sidecache.monitoring.prometheusRule -}}
{{- if $given.enabled }}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "sidecache.fullname" . }}
  labels: {{- merge (deepCopy $given.labels) (include "sidecache.labels" . | fromYaml) | toYaml | nindent 4 }}
spec:
  {{- .Subcharts.sidecache.Files.Get "files/rules.yaml" | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sidecache.dashboard" -}}
{{- $given := .Values.sidecache.monitoring.dashboard -}}
{{- if $given.enabled }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "sidecache.fullname" . }}-dashboard
  labels: {{- merge (deepCopy $given.labels) (include "sidecache.labels" . | fromYaml) | toYaml | nindent 4 }}
data:
  sidecache.json: |
    {{- .Subcharts.sidecache.Files.Get "files/dashboard.json" | nindent 4 }}
{{- end }}
{{- end }}
