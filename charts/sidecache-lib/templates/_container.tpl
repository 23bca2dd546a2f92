{{- /* List items for the pod's initContainers; none in classic mode. */}}
{{- define "sidecache.initContainers" -}}
{{- if eq .Values.sidecache.mode "native" }}
{{- include "sidecache.container" . }}
{{- end }}
{{- end }}

{{- /* List items for the pod's containers; none in native mode. */}}
{{- define "sidecache.containers" -}}
{{- if eq .Values.sidecache.mode "classic" }}
{{- include "sidecache.container" . }}
{{- end }}
{{- end }}

{{- define "sidecache.container" -}}
{{- include "sidecache.check" . -}}
{{- $own := .Values.sidecache -}}
- name: sidecache
  image: {{ include "sidecache.image" . | quote }}
  imagePullPolicy: {{ $own.image.pullPolicy }}
  {{- if eq $own.mode "native" }}
  restartPolicy: Always
  {{- end }}
  ports:
    - {name: http-cached, containerPort: {{ int $own.ports.http }}, protocol: TCP}
    - {name: sidecache-ops, containerPort: {{ int $own.ports.ops }}, protocol: TCP}
  env:
    - {name: SIDECACHE_OPS, value: "http://127.0.0.1:{{ int $own.ports.ops }}"}
    - {name: SIDECACHE_ADMIN, value: "http://127.0.0.1:{{ int $own.ports.admin }}"}
    {{- if include "sidecache.hasSecret" (list . "admin" "token") }}
    - {name: SIDECACHE_ADMIN_TOKEN_FILE, value: /etc/sidecache-secrets/admin-token}
    {{- end }}
    {{- with $own.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $own.extraEnvFrom }}
  envFrom: {{- toYaml . | nindent 4 }}
  {{- end }}
  startupProbe: {{- include "sidecache.probe" (list . "/startupz" $own.startupProbe) | nindent 4 }}
  livenessProbe: {{- include "sidecache.probe" (list . "/livez" $own.livenessProbe) | nindent 4 }}
  readinessProbe: {{- include "sidecache.probe" (list . "/readyz" $own.readinessProbe) | nindent 4 }}
  lifecycle:
    preStop:
      httpGet: {path: /-/drain, port: {{ int $own.ports.ops }}}
  securityContext: {{- toYaml $own.securityContext | nindent 4 }}
  resources: {{- toYaml $own.resources | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    # The directory, not a subPath: only so do edits of the ConfigMap arrive.
    - {name: sidecache-config, mountPath: /etc/sidecache, readOnly: true}
    - {name: sidecache-tmp, mountPath: /tmp}
    {{- if include "sidecache.secretSources" . }}
    - {name: sidecache-secrets, mountPath: /etc/sidecache-secrets, readOnly: true}
    {{- end }}
    {{- with $own.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- /* Numbers, not names: Services, policies and monitors of older clusters do not see an init container's. */}}
{{- define "sidecache.probe" -}}
httpGet: {path: {{ index . 1 }}, port: {{ int (index . 0).Values.sidecache.ports.ops }}}
{{ toYaml (index . 2) }}
{{- end }}

{{- /* List items for the pod's volumes. */}}
{{- define "sidecache.volumes" -}}
- name: sidecache-config
  configMap:
    name: {{ include "sidecache.configMapName" . }}
    items: [{key: config.yaml, path: config.yaml}]
- name: sidecache-tmp
  emptyDir: {sizeLimit: 16Mi}
{{- with include "sidecache.secretSources" . }}
- name: sidecache-secrets
  projected:
    sources: {{- . | nindent 6 }}
{{- end }}
{{- with .Values.sidecache.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidecache.secretSources" -}}
{{- $root := . -}}
{{- $own := .Values.sidecache -}}
{{- range $section, $key := dict "redis" "url" "admin" "token" "identity" "secret" }}
{{- $given := index $own $section }}
{{- if $given.existingSecret }}
- secret:
    name: {{ $given.existingSecret }}
    items: [{key: {{ $given.existingSecretKey }}, path: {{ $section }}-{{ $key }}}]
{{- else if include "sidecache.secretValue" (list $root $section $key) }}
- secret:
    name: {{ include "sidecache.fullname" $root }}-secrets
    items: [{key: {{ $section }}-{{ $key }}, path: {{ $section }}-{{ $key }}}]
{{- end }}
{{- end }}
{{- end }}
