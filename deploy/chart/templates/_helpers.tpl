{{- define "weir.name" -}}
{{- if contains "weir" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-weir" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "weir.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "weir.keySecret" -}}
{{ .Values.clusterKey.existingSecret | default (printf "%s-cluster-key" (include "weir.name" .)) }}
{{- end }}

{{- define "weir.configSecret" -}}
{{ .Values.configSecret.existingSecret | default (printf "%s-config" (include "weir.name" .)) }}
{{- end }}

{{/* A hash of all but the credentials: a reader of the DaemonSet could try passwords on a hash of them. */}}
{{- define "weir.configHash" -}}
{{- $config := deepCopy .Values.config }}
{{- range $name, $registry := $config.registries }}
{{- if kindIs "map" $registry }}{{ $_ := set $config.registries $name (omit $registry "password" "token") }}{{ end }}
{{- end }}
{{- toYaml $config | sha256sum }}
{{- end }}

{{/* Loopback always: only there are the reports for `weir status`, and the kubelet's probes go there. */}}
{{- define "weir.adminListen" -}}
{{- $hosts := list "127.0.0.1" }}
{{- if .Values.metrics.enabled }}{{ $hosts = append $hosts .Values.metrics.address | uniq }}{{ end }}
{{- range $i, $host := $hosts }}{{ if $i }},{{ end }}{{ $host }}:{{ $.Values.ports.admin }}{{ end }}
{{- end }}

{{- define "weir.zoneFrom" -}}
{{- if ne .Values.zone.from "auto" }}{{ .Values.zone.from }}
{{- else if semverCompare ">=1.35.0-0" .Capabilities.KubeVersion.Version }}podLabel
{{- else }}nodeLabel{{ end }}
{{- end }}

{{/* The registry, for containerd, and the repository, for other runtimes, that are pulled without the mirror. */}}
{{- define "weir.direct" -}}
{{- $direct := append .Values.hostSetup.direct .Values.image.repository }}
{{- $registry := .Values.image.repository | splitList "/" | first }}
{{- if hasSuffix ":443" $registry }}{{ $direct = append $direct $registry }}{{ end }}
{{- join "," $direct }}
{{- end }}

{{/* User 0 without any capability: it reads root's files, and can do nothing else that root could. */}}
{{- define "weir.containerSecurity" -}}
runAsUser: 0
runAsGroup: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The node's rights: to listen below 1024 it needs one more. */}}
{{- define "weir.nodeSecurity" -}}
{{ include "weir.containerSecurity" . }}
{{- if lt (int .Values.ports.mirror) 1024 }}
  add: [NET_BIND_SERVICE]
{{- end }}
{{- end }}

{{- define "weir.podSecurity" -}}
seccompProfile:
  type: RuntimeDefault
{{- with .Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The root of the machine: only the runtimes' configuration and the kept originals can be written. */}}
{{- define "weir.hostMounts" -}}
- name: host
  mountPath: /host
  readOnly: true
- name: host-etc
  mountPath: /host/etc
- name: host-state
  mountPath: /host/var/lib/weir-host
{{- end }}

{{- define "weir.hostVolumes" -}}
- name: host
  hostPath:
    path: /
    type: Directory
- name: host-etc
  hostPath:
    path: /etc
    type: Directory
- name: host-state
  hostPath:
    path: /var/lib/weir-host
    type: DirectoryOrCreate
{{- end }}

{{- define "weir.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
{{- end }}
