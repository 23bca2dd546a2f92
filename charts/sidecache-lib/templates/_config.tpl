{{- /* The file that the sidecar serves from: the policies as given, and what follows from the pod. */}}
{{- define "sidecache.config" -}}
{{- $own := .Values.sidecache -}}
{{- $written := dict
      "listen" (printf "0.0.0.0:%d" (int $own.ports.http))
      "ops" (dict "listen" (printf "0.0.0.0:%d" (int $own.ports.ops)))
      "admin" (dict "listen" (printf "127.0.0.1:%d" (int $own.ports.admin)))
      "drain" (include "sidecache.drain" . | fromYaml)
      "origin" (dict "url" (printf "http://127.0.0.1:%d" (int $own.originPort))) -}}
{{- if include "sidecache.hasSecret" (list . "admin" "token") }}
{{- $_ := set $written.admin "token_file" "/etc/sidecache-secrets/admin-token" }}
{{- end }}
{{- if include "sidecache.hasSecret" (list . "redis" "url") }}
{{- $_ := set $written "l2" (dict "url_file" "/etc/sidecache-secrets/redis-url" "namespace" (include "sidecache.redisNamespace" .)) }}
{{- end }}
{{- if include "sidecache.hasSecret" (list . "identity" "secret") }}
{{- $_ := set $written "secret_file" "/etc/sidecache-secrets/identity-secret" }}
{{- end }}
{{- mergeOverwrite (deepCopy $own.config) $written | toYaml }}
{{- end }}

{{- /* In native mode SIGTERM comes after the API has ended, and preStop began to drain long before: nothing is
       left to wait for. In classic mode SIGTERM comes at once. */}}
{{- define "sidecache.drain" -}}
{{- $own := .Values.sidecache -}}
delay: {{ eq $own.mode "native" | ternary 0 (int $own.drain.delaySeconds) }}s
timeout: {{ int $own.drain.timeoutSeconds }}s
{{- end }}

{{- /* Services that share a Redis must differ; 64 characters are the most that the sidecar takes. */}}
{{- define "sidecache.redisNamespace" -}}
{{- $namespace := .Values.sidecache.redis.namespace | default (printf "%s.%s" .Release.Namespace .Release.Name) -}}
{{- gt (len $namespace) 64 | ternary (sha256sum $namespace) $namespace -}}
{{- end }}

{{- /* The secret that the values hold themselves. */}}
{{- define "sidecache.secretValue" -}}
{{- $root := index . 0 -}}
{{- if eq (index . 1) "redis" -}}
{{ include "sidecache.redisUrl" $root }}
{{- else -}}
{{ index $root.Values.sidecache (index . 1) (index . 2) }}
{{- end }}
{{- end }}

{{- /* A chart that brings a Redis defines this template itself. */}}
{{- define "sidecache.redisUrl" -}}
{{ .Values.sidecache.redis.url }}
{{- end }}

{{- /* Whether there is one, here or in a Secret that exists: "true" or nothing. */}}
{{- define "sidecache.hasSecret" -}}
{{- if or (include "sidecache.secretValue" .) (index (index . 0).Values.sidecache (index . 1)).existingSecret -}}true{{- end }}
{{- end }}

{{- /* Changes when the pods must be made anew: what a reload applies is left out, and so are Secrets of your own,
       of which a chart sees nothing. */}}
{{- define "sidecache.podAnnotations" -}}
{{- $live := list "defaults" "routes" "unmatched" "logs" "forwarded" "x_cache_status" "data_purge" "drain" -}}
{{- $fixed := include "sidecache.config" . | fromYaml -}}
{{- range $live }}{{ $_ := unset $fixed . }}{{ end -}}
sidecache/restart-on: {{ list (toYaml $fixed) (include "sidecache.secret" .) | join "\n" | sha256sum }}
{{- end }}
