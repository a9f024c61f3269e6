#!/usr/bin/env bash
# Builds weir_VERSION_ARCH.deb: the sources, the packages that they need, and the Node.js that package-lock.json names.
#
#   deploy/deb/build.sh [--arch amd64|arm64] [--out FOLDER]
#
# Needs npm and dpkg-deb. The package needs no Node.js on its machine, only the libraries in `control`.
set -euo pipefail
cd "$(dirname "$0")/../.."

arch="$(dpkg --print-architecture)"
out=build
while [ $# -gt 0 ]; do
  case $1 in
    --arch) arch=$2 ;;
    --out) out=$2 ;;
    *) echo "build.sh: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
case $arch in
  amd64) cpu=x64 ;;
  arm64) cpu=arm64 ;;
  *) echo "build.sh: no Node.js for $arch: amd64 and arm64 only" >&2; exit 2 ;;
esac
version="$(sed -nE 's/^  "version": "(.*)",$/\1/p' package.json)"
# The same sources make the same package, byte for byte: no time of this build is in it.
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH

tree="$(mktemp -d "${TMPDIR:-/tmp}/weir-deb-XXXXXX")"
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"
umask 022
lib="$tree/usr/lib/weir"

mkdir -p "$lib" "$tree/usr/bin" "$tree/etc/weir" "$tree/usr/share/doc/weir" "$tree/DEBIAN"
cp -R package.json package-lock.json src "$lib/"
npm ci --prefix "$lib" --omit=dev --ignore-scripts --no-audit --no-fund --os=linux --cpu="$cpu" --loglevel=error >&2
# Others publish npm's package of Node.js: its binary must be that of nodejs.org.
node="$lib/node_modules/node-linux-$cpu"
name="node-linux-$cpu-$(sed -nE 's/^  "version": "(.*)",$/\1/p' "$node/package.json")/bin/node"
sum="$(awk -v name="$name" '$2 == name { print $1 }' deploy/image/node-sums.txt)"
[ -n "$sum" ] || { echo "build.sh: deploy/image/node-sums.txt has no sum of $name: see deploy/image/README.md" >&2; exit 1; }
echo "$sum  $node/bin/node" | sha256sum --check --quiet >&2
rm "$lib/package-lock.json" "$lib/node_modules/.package-lock.json"
# Only people and compilers read these files.
find "$lib/node_modules" -type f \( -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.map' \) -delete
ln -s ../lib/weir/src/cli/weir "$tree/usr/bin/weir"

install -D -m 0644 deploy/systemd/weir.service "$tree/usr/lib/systemd/system/weir.service"
install -D -m 0644 deploy/systemd/sysusers.conf "$tree/usr/lib/sysusers.d/weir.conf"
install -D -m 0644 deploy/systemd/tmpfiles.conf "$tree/usr/lib/tmpfiles.d/weir.conf"
install -m 0644 docs/operations.md docs/configuration.md "$tree/usr/share/doc/weir/"
install -m 0644 LICENSE "$tree/usr/share/doc/weir/copyright"

installed="$(du -sk --apparent-size "$tree" | cut -f1)"
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$installed/" deploy/deb/control >"$tree/DEBIAN/control"
for script in postinst prerm postrm; do install -m 0755 "deploy/deb/$script" "$tree/DEBIAN/$script"; done
chmod -R u+rwX,go+rX,go-w "$tree/usr" "$tree/etc"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
file="$out/weir_${version}_${arch}.deb"
dpkg-deb --root-owner-group -Zxz -z"${WEIR_DEB_LEVEL:-6}" --build "$tree" "$file" >/dev/null
echo "$file"
