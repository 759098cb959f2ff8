#!/bin/sh
# Builds the Kubernetes of the cluster tests, once, into a cache outside the tree; prints the path of the binary.
# Cold this takes about six minutes on two cores and fetches Go modules; later calls only print.
set -eu
cd "$(dirname "$0")"
# shellcheck source=e2e/cluster/go.sh
. ./go.sh

minor=35
version=1.$minor.4
digest=$(cat go.mod go.sum main.go | sha256sum | cut -c 1-16)
kube=$cache/kube-$digest

if [ -x "$kube" ]; then
    echo "$kube"
    exit 0
fi

need_go
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
