#!/bin/sh
# Builds MetalLB's own controller and speaker for the test of moving from it, once, into a cache outside the tree, and
# puts the files of its installation beside them; prints the directory. Nothing of it is in this repository.
#
# The Go module proxy is all that it fetches from.
set -eu
# shellcheck source=e2e/cluster/go.sh
. "$(dirname "$0")/go.sh"

release=v0.16.1
sum=h1:iVtjCslcUFMOEvuNeAyW2ygZxyW+6YjnNcEuCTOZezc=
built=$cache/metallb-$release

if [ -d "$built" ]; then
    echo "$built"
    exit 0
fi

need_go
unfinished=$(mktemp -d "$cache/metallb-building.XXXXXX")
trap 'rm -rf "$unfinished"' EXIT INT TERM
echo "building MetalLB $release for the test of moving from it (some minutes the first time)" >&2
# outside any module
facts=$(cd "$unfinished" && GOFLAGS=-mod=mod go mod download -json "go.universe.tf/metallb@$release")
fact() {
    echo "$facts" | sed -n "s/^[[:space:]]*\"$1\": \"\(.*\)\",\{0,1\}\$/\1/p"
}
if [ "$(fact Sum)" != "$sum" ]; then
    echo "MetalLB $release is not what it was: $(fact Sum)" >&2
    exit 1
fi
module=$(fact Dir)
(cd "$module" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags '-s -w' -o "$unfinished/" ./controller ./speaker) >&2
cp "$module/LICENSE" "$module"/config/manifests/metallb-native.yaml "$module"/config/manifests/metallb-frr.yaml \
    "$module"/config/manifests/metallb-frr-k8s.yaml "$module"/frr-tools/reloader/frr-reloader.sh "$unfinished/"
chmod 755 "$unfinished" "$unfinished"/*
mv -T "$unfinished" "$built" # a rename: nobody ever sees half of it
trap - EXIT INT TERM
echo "$built"
