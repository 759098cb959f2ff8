#!/bin/sh
set -eu
cd "$(dirname "$0")"
cache=${FERROLB_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/ferrolb}
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=overlay
mkdir -p "$cache"
out="$cache/image-pod.tar"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp pod/Dockerfile "$tmp"
[ -s "$out" ] || {
(cd pod && CGO_ENABLED=0 go build -ldflags "-s -w" -o "$tmp/pod" . ) >&2
buildah --root "$cache/containers" --runroot "$cache/containers-run" bud -q -f "$tmp/Dockerfile" -t ferrolb.test/pod:1 "$tmp" >&2
buildah --root "$cache/containers" --runroot "$cache/containers-run" push -q ferrolb.test/pod:1 docker-archive:"$out":ferrolb.test/pod:1 >&2
}
echo "$out"
