{{- /* What keeps the API alive while the sidecar still sends it requests. Native: until endpoints have forgotten
       the pod; the sidecar outlives the API anyway. Classic: both are told to end at once, so until the sidecar
       has finished. `sleep` needs nothing in the API's image, but Kubernetes 1.30. */}}
{{- define "sidecache.originLifecycle" -}}
{{- $own := .Values.sidecache -}}
{{- $seconds := int $own.drain.delaySeconds -}}
{{- if eq $own.mode "classic" }}{{ $seconds = add $seconds (int $own.drain.timeoutSeconds) }}{{ end -}}
preStop:
  {{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
  sleep: {seconds: {{ $seconds }}}
  {{- else }}
  exec: {command: [sleep, "{{ $seconds }}"]}
  {{- end }}
{{- end }}

{{- define "sidecache.terminationGracePeriodSeconds" -}}
{{ int .Values.sidecache.terminationGracePeriodSeconds }}
{{- end }}
