#!/bin/sh
# Builds the Kubernetes of the cluster tests, once, into a cache outside the tree; prints the path of the binary.
# Cold this takes about six minutes on two cores and fetches Go modules; later calls only print.
set -eu
cd "$(dirname "$0")"

minor=35
version=1.$minor.4
cache=${FERROLB_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/ferrolb}
digest=$(cat go.mod go.sum main.go | sha256sum | cut -c 1-16)
kube=$cache/kube-$digest

if [ -x "$kube" ]; then
    echo "$kube"
    exit 0
fi

found=$(go env GOVERSION 2>/dev/null || true)
go_minor=$(echo "$found" | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
if [ "${go_minor:-0}" -lt 26 ]; then
    echo "the cluster tests need Go >= 1.26 in PATH (found: ${found:-none}); see https://go.dev/doc/install" >&2
    exit 1
fi

mkdir -p "$cache"
unfinished=$(mktemp "$cache/kube-building.XXXXXX")
trap 'rm -f "$unfinished"' EXIT INT TERM
echo "building Kubernetes $version for the cluster tests (about six minutes the first time)" >&2
component=k8s.io/component-base/version
CGO_ENABLED=0 go build -mod=readonly -o "$unfinished" -ldflags "-s -w \
    -X $component.gitVersion=v$version -X $component.gitMajor=1 -X $component.gitMinor=$minor \
    -X $component.gitTreeState=clean" . >&2
chmod 755 "$unfinished"
mv "$unfinished" "$kube" # a rename: nobody ever sees half a binary
trap - EXIT INT TERM
echo "$kube"
