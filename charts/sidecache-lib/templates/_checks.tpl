{{- /* Refuses what the schema cannot see, in a sentence that says what to change. */}}
{{- define "sidecache.check" -}}
{{- include "sidecache.checkMode" . -}}
{{- include "sidecache.checkPorts" . -}}
{{- include "sidecache.checkConfig" . -}}
{{- include "sidecache.checkSecrets" . -}}
{{- include "sidecache.checkDrain" . -}}
{{- include "sidecache.checkMemory" . -}}
{{- end }}

{{- define "sidecache.checkMode" -}}
{{- $version := .Capabilities.KubeVersion.Version -}}
{{- if and (eq .Values.sidecache.mode "native") (semverCompare "<1.29.0-0" $version) }}
{{- fail (printf "sidecache.mode: native needs Kubernetes 1.29 or newer, found %s; set sidecache.mode: classic" $version) }}
{{- end }}
{{- end }}

{{- define "sidecache.checkPorts" -}}
{{- $own := .Values.sidecache -}}
{{- $ports := list (int $own.originPort) (int $own.ports.http) (int $own.ports.ops) (int $own.ports.admin) -}}
{{- if ne (len (uniq $ports)) 4 }}
{{- fail (printf "sidecache.ports: originPort, http, ops and admin share the pod's address and must differ, found %s; change sidecache.ports" (join ", " $ports)) }}
{{- end }}
{{- end }}

{{- define "sidecache.checkConfig" -}}
{{- $own := .Values.sidecache -}}
{{- $instead := dict "listen" "ports.http" "ops" "ports.ops" "admin" "admin and ports.admin" "drain" "drain" "secret" "identity" "secret_file" "identity" -}}
{{- range $key, $value := $instead }}
{{- if hasKey $own.config $key }}
{{- fail (printf "sidecache.config.%s: the chart writes it; remove it and set sidecache.%s instead" $key $value) }}
{{- end }}
{{- end }}
{{- if hasKey ($own.config.origin | default dict) "url" }}
{{- fail "sidecache.config.origin.url: the chart writes it, the API is in the same pod; remove it and set sidecache.originPort instead" }}
{{- end }}
{{- range $key := list "url" "url_file" "namespace" }}
{{- if hasKey ($own.config.l2 | default dict) $key }}
{{- fail (printf "sidecache.config.l2.%s: the chart writes it; remove it and set sidecache.redis instead" $key) }}
{{- end }}
{{- end }}
{{- if and $own.existingConfigMap (or $own.config.routes (gt (len $own.config) 1)) }}
{{- fail "sidecache.existingConfigMap: found sidecache.config as well, expected one of them; remove one" }}
{{- end }}
{{- end }}

{{- define "sidecache.checkSecrets" -}}
{{- $root := . -}}
{{- range $section, $key := dict "redis" "url" "admin" "token" "identity" "secret" }}
{{- $given := index $root.Values.sidecache $section }}
{{- if and $given.existingSecret (include "sidecache.secretValue" (list $root $section $key)) }}
{{- fail (printf "sidecache.%s: found both %s and existingSecret, expected one of them; remove one" $section $key) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sidecache.checkDrain" -}}
{{- $own := .Values.sidecache -}}
{{- $needed := add (int $own.drain.delaySeconds) (int $own.drain.timeoutSeconds) (int $own.originStopSeconds) -}}
{{- if lt (int $own.terminationGracePeriodSeconds) (int $needed) }}
{{- fail (printf "sidecache.terminationGracePeriodSeconds: found %d, expected at least %d, the sum of drain.delaySeconds, drain.timeoutSeconds and originStopSeconds; raise it or lower those" (int $own.terminationGracePeriodSeconds) (int $needed)) }}
{{- end }}
{{- /* The sidecar takes a drain back that no SIGTERM follows within five minutes. */}}
{{- $until := add (int $own.drain.delaySeconds) (int $own.originStopSeconds) -}}
{{- if and (eq $own.mode "native") (gt (int $until) 290) }}
{{- fail (printf "sidecache.drain.delaySeconds: with originStopSeconds it makes %d, expected at most 290 in native mode; lower them" (int $until)) }}
{{- end }}
{{- end }}

{{- /* The arithmetic of l1.max_bytes in docs/configuration.md, against the container's limit. */}}
{{- define "sidecache.checkMemory" -}}
{{- $own := .Values.sidecache -}}
{{- $given := dig "limits" "memory" "" $own.resources -}}
{{- $l1 := dig "max_bytes" "40%" ($own.config.l1 | default dict) | toString -}}
{{- $limit := include "sidecache.bytes" $given | int64 -}}
{{- $reserved := int64 100663296 -}}
{{- $embedded := eq $own.redis.url "embedded" -}}
{{- if $embedded }}{{ $reserved = add $reserved 83886080 }}{{ end -}}
{{- $wanted := include "sidecache.bytes" $l1 | int64 -}}
{{- if not (regexMatch "^[0-9.]+[A-Za-z]*$" $l1) }}{{ $wanted = int64 8388608 }}{{ end -}}
{{- $needed := add $reserved $wanted -}}
{{- if and $limit (lt $limit $needed) }}
{{- fail (printf "sidecache.resources.limits.memory: found %s, expected at least %dMi: %dMi for the process%s and %dMi for L1; raise it or lower sidecache.config.l1.max_bytes (%s)" (toString $given) (div (add $needed 1048575) 1048576) (div $reserved 1048576) ($embedded | ternary " and the embedded Valkey" "") (div (add $wanted 1048575) 1048576) $l1) }}
{{- end }}
{{- end }}

{{- /* A quantity (128Mi, 1.5G) or a size (64MiB) in bytes; 0: none of these. */}}
{{- define "sidecache.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "K" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := kindIs "float64" . | ternary (int64 . | toString) (toString .) -}}
{{- $number := regexFind "^[0-9]+(\\.[0-9]+)?" $text -}}
{{- $unit := trimPrefix $number $text | trimSuffix "B" -}}
{{- if and $number (hasKey $units $unit) -}}
{{- mulf (float64 $number) (index $units $unit) | int64 -}}
{{- else -}}0
{{- end }}
{{- end }}
