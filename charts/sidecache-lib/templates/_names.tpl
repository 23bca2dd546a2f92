{{- /* Room for the longest suffix that is hung on it: names end at 63 characters. */}}
{{- define "sidecache.fullname" -}}
{{- $name := "sidecache" -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- /* A chart whose pods have other labels defines this template itself: its own definition wins. */}}
{{- define "sidecache.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sidecache.labels" -}}
{{ include "sidecache.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | default .Chart.Version | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sidecache.image" -}}
{{- $image := .Values.sidecache.image -}}
{{- $name := $image.repository -}}
{{- if $image.registry }}{{ $name = printf "%s/%s" $image.registry $name }}{{ end -}}
{{- if $image.digest -}}
{{ $name }}@{{ $image.digest }}
{{- else -}}
{{ $name }}:{{ $image.tag | default .Subcharts.sidecache.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "sidecache.configMapName" -}}
{{ .Values.sidecache.existingConfigMap | default (printf "%s-config" (include "sidecache.fullname" .)) }}
{{- end }}
