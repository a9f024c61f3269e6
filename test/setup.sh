#!/usr/bin/env bash
# Brings the real programs that the end-to-end tests run: as root on Debian it installs what is missing
# (services are not started), elsewhere it says what is missing and how to get it. Quick when all is there.
set -euo pipefail

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"
CACHE="${WEIR_TEST_CACHE:-/var/cache/weir-test}"

# The conformance suite of the OCI distribution spec, at the newest version that Debian 12's Go builds.
SUITE=github.com/opencontainers/distribution-spec/conformance
SUITE_VERSION=v0.0.0-20231101194043-f2182352d4cc
SUITE_PROGRAM="$CACHE/conformance-$SUITE_VERSION"

# program:package
NEEDED='
  docker-registry:docker-registry
  containerd:containerd
  ctr:containerd
  runc:runc
  dockerd:docker.io
  docker:docker.io
  docker-compose:docker-compose
  skopeo:skopeo
  podman:podman
  buildah:buildah
  crun:crun
  nginx:nginx-light
  htpasswd:apache2-utils
  busybox:busybox-static
  ip:iproute2
  nft:nftables
  openssl:openssl
  jq:jq
  tmux:tmux
  chromium:chromium
  debootstrap:debootstrap
  qemu-aarch64-static:qemu-user-static
  systemd-analyze:systemd
  prometheus:prometheus
  promtool:prometheus
'
# Go only builds the suite.
[ -x "$SUITE_PROGRAM" ] || NEEDED+='go:golang-go'

is_debian() { [ -f /etc/debian_version ] && command -v apt-get >/dev/null; }

missing_programs() {
  for pair in $NEEDED; do
    command -v "${pair%%:*}" >/dev/null || echo "$pair"
  done
  # The test images run busybox without any library beside it.
  if command -v busybox >/dev/null && is_debian && ! dpkg -s busybox-static >/dev/null 2>&1; then
    echo busybox:busybox-static
  fi
}

install_packages() {
  # Packages would start their services: this policy forbids it while they are installed.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends "$@"
}

missing="$(missing_programs)"
if [ -z "$missing" ]; then
  echo "setup: all programs for the end-to-end tests are there"
else
  packages="$(for pair in $missing; do echo "${pair##*:}"; done | sort -u | tr '\n' ' ')"
  if is_debian && [ "$(id -u)" = 0 ]; then
    echo "setup: installing $packages"
    # shellcheck disable=SC2086 # one word per package
    install_packages $packages
    # From Debian 13 on the docker command is a package of its own.
    command -v docker >/dev/null || install_packages docker-cli
    missing="$(missing_programs)"
  fi
fi

if [ -n "$missing" ]; then
  echo "setup: missing: $(for pair in $missing; do echo "${pair%%:*}"; done | sort -u | tr '\n' ' ')"
  echo "setup: on Debian: sudo apt-get install --no-install-recommends $packages"
  echo "setup: the tests that need them are left out and reported as pending; with CI=true they fail"
fi
if [ "$(id -u)" != 0 ]; then
  echo "setup: not root: the tests that start containerd, dockerd, podman or a namespace are left out and"
  echo "setup: reported as pending; with CI=true they fail"
fi

# Trees of Debian, which are kept from run to run; test/support/debian-tree.ts enters or copies them. Later runtimes than the
# machine's: podman 5 (podman 4 knows too little of Kubernetes) and containerd 1.7 of Debian 13, containerd 2 of Debian 14.
# Machines that the package is installed on: Debian 12 with little in it, and with systemd.
put_up() {
  local name="$1" suite="$2" packages="$3" tree="$CACHE/$1"
  if [ "$(cat "$tree/packages" 2>/dev/null)" = "$packages" ]; then return; fi
  echo "setup: $packages of Debian $suite into $tree"
  rm -rf "$tree" "$tree.new"
  mkdir -p "${tree%/*}"
  # The script is named, as the debootstrap of an older Debian has none of a newer one's name; all are the same.
  debootstrap --variant=minbase --include="$packages" "$suite" "$tree.new" \
    http://deb.debian.org/debian /usr/share/debootstrap/scripts/sid >"$tree.log" 2>&1 ||
    { tail -n 20 "$tree.log"; exit 1; }
  echo "$packages" >"$tree.new/packages"
  mv "$tree.new" "$tree"
}

# The conformance suite, once for each of its versions; test/e2e/conformance.test.ts runs the program behind the link.
# Nothing stays in the caches of Go.
build_suite() {
  export GOPATH="$1/go" GOCACHE="$1/cache" GOFLAGS=-modcacherw CGO_ENABLED=0 GO111MODULE=on GOWORK=off
  mkdir -p "$CACHE" && cd "$1" && go mod download "$SUITE@$SUITE_VERSION" &&
    cd "$GOPATH/pkg/mod/$SUITE@$SUITE_VERSION" && go test -c -o "$SUITE_PROGRAM.new" . &&
    mv "$SUITE_PROGRAM.new" "$SUITE_PROGRAM"
}
if [ ! -x "$SUITE_PROGRAM" ] && command -v go >/dev/null; then
  echo "setup: conformance suite into $SUITE_PROGRAM"
  module="$(mktemp -d)"
  if ! (build_suite "$module") >"$module/log" 2>&1; then
    tail -n 20 "$module/log"
    echo "setup: without the conformance suite its test is left out; with CI=true it fails"
  fi
  rm -rf "$module"
fi
if [ -x "$SUITE_PROGRAM" ]; then ln -sfn "${SUITE_PROGRAM##*/}" "$CACHE/conformance" || true; fi

if [ "$(id -u)" = 0 ] && is_debian && command -v debootstrap >/dev/null; then
  # Beside each other, as much of it is waiting for the network and the disk.
  jobs=()
  put_up trixie trixie ca-certificates,catatonit,containerd,podman,runc & jobs+=($!)
  put_up forky forky ca-certificates,containerd,runc & jobs+=($!)
  put_up bookworm bookworm libatomic1 & jobs+=($!)
  put_up bookworm-systemd bookworm systemd,systemd-sysv,dbus,libatomic1 & jobs+=($!)
  for job in "${jobs[@]}"; do wait "$job"; done
fi
