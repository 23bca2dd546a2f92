{{- define "sidecache.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "sidecache.fullname" .) "default" -}}
{{ .Values.serviceAccount.name | default $default }}
{{- end }}

{{- define "sidecache.leastReplicas" -}}
{{ .Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicaCount | int }}
{{- end }}

{{- /* Instead of the library's: the address of this chart's own Valkey, if it is wanted. */}}
{{- define "sidecache.redisUrl" -}}
{{- $given := .Values.sidecache.redis.url -}}
{{- if and .Values.valkey.enabled (or $given .Values.sidecache.redis.existingSecret) }}
{{- fail "valkey.enabled: found sidecache.redis as well, expected one of them; empty sidecache.redis or disable valkey" }}
{{- end -}}
{{ .Values.valkey.enabled | ternary (printf "redis://%s-valkey:6379/0" (include "sidecache.fullname" .)) $given }}
{{- end }}
