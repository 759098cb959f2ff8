#!/bin/sh
# Builds the images of the install tier, each once per content, into a cache outside the tree; prints the paths of their
# archives. With --sizes it prints name, compressed and plain megabytes of each instead.
#
# The images are those of the Dockerfiles, with two replacements, so that no registry is needed: their Debian base is a
# root made of Debian packages, and the binaries are built here, by the same command, with this checkout's target
# directory as the cache. Cold this takes about five minutes on two cores. Binaries and images name FERROLB_COMMIT; where
# nobody says it, the last commit that changed what they are made of, so that other commits compile nothing anew.
# The images for a look around are built too, and not printed: nodes do not run them.
set -eu
cd "$(dirname "$0")/../.."

cache=${FERROLB_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/ferrolb}/images
export STORAGE_DRIVER=overlay BUILDAH_ISOLATION=chroot
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
sources="src templates Cargo.toml Cargo.lock Dockerfile.controller Dockerfile.speaker frr"
if [ -z "${FERROLB_COMMIT:-}" ]; then
    # shellcheck disable=SC2086
    FERROLB_COMMIT=$(git log -1 --format=%H -- $sources 2>/dev/null || true)
    # shellcheck disable=SC2086
    git diff --quiet HEAD -- $sources 2>/dev/null || FERROLB_COMMIT=${FERROLB_COMMIT:-unknown}-dirty
fi
export FERROLB_COMMIT=${FERROLB_COMMIT:-unknown}
source=${FERROLB_SOURCE:-https://ferrolb.test/source}
debian=ferrolb.test/debian:trixie

for tool in buildah mmdebstrap setcap cargo go; do
    if ! command -v "$tool" >/dev/null; then
        echo "the images need $tool; e2e/setup.sh installs what Debian has of it" >&2
        exit 1
    fi
done

mkdir -p "$cache/archives"
# one build at a time, whoever asks
exec 9>"$cache/lock"
flock 9
# what a build that was killed left behind
rm -rf "$cache"/building.*
# what the nodes unpack of them, of earlier contents
find "$cache/stores" -mindepth 1 -maxdepth 1 -mtime +0 -exec rm -rf {} + 2>/dev/null || true
work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

buildah() {
    command buildah --root "$cache/storage" --runroot "$work/run" "$@"
}

# The Debian that stands for the public base image.
base() {
    buildah inspect --type image "$debian" >/dev/null 2>&1 && return
    echo "making a Debian root" >&2
    mmdebstrap --quiet --variant=minbase trixie "$work/debian.tar"
    container=$(buildah from scratch)
    buildah add -q "$container" "$work/debian.tar" / >/dev/null
    buildah commit -q --rm "$container" "$debian" >/dev/null
    rm "$work/debian.tar"
}

# image NAME:TAG DIGEST BUILD-ARGUMENTS...: the archive of this content, built when it is not there.
image() {
    name=$1 digest=$2
    shift 2
    file=$cache/archives/$(echo "$name" | tr '/:' '--')-$digest.tar
    if [ ! -s "$file" ]; then
        echo "building $name" >&2
        old=$(buildah images --quiet "$name" 2>/dev/null || true)
        buildah bud --quiet --build-arg VERSION="$version" --build-arg COMMIT="$FERROLB_COMMIT" --build-arg SOURCE="$source" \
            --tag "$name" "$@" >&2
        [ -z "$old" ] || buildah rmi "$old" >/dev/null 2>&1 || true
        buildah push --quiet "$name" "docker-archive:$work/image.tar:$name" >&2
        rm -f "$cache/archives/$(echo "$name" | tr '/:' '--')"-*.tar
        mv "$work/image.tar" "$file"
    fi
    echo "$file"
}

digest() {
    cat "$@" | sha256sum | cut -c 1-16
}

# Below `cargo test` its variables are set, and some build scripts would run again for that: everything would be
# compiled anew each time.
# shellcheck disable=SC2046
unset $(env | sed -n 's/^\(CARGO_\(PKG\|MANIFEST\|BIN\|CRATE\|PRIMARY\)[^=]*\)=.*/\1/p') RUSTC_WORKSPACE_WRAPPER

host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --quiet --release --locked --package ferrolb --bin controller --bin speaker --target "$host" >&2
mkdir "$work/binaries" "$work/pod"
for binary in controller speaker; do
    cp "${CARGO_TARGET_DIR:-target}/$host/release/$binary" "$work/binaries"
done
setcap cap_net_raw+p "$work/binaries/speaker"
(cd e2e/images/pod && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$work/pod/pod" .) >&2
base

binaries="--build-context binaries=$work/binaries --build-arg DEBIAN=$debian"
{
    image "ferrolb.test/pod:1" "$(digest e2e/images/pod/Dockerfile "$work/pod/pod")" \
        --file e2e/images/pod/Dockerfile "$work/pod"
    image "docker.io/ferrolb/frr:v$version" "$(digest Dockerfile.speaker frr/*)" \
        --file Dockerfile.speaker --target frr --layers --build-arg DEBIAN="$debian" .
    for name in controller speaker; do
        # shellcheck disable=SC2086
        image "docker.io/ferrolb/$name:v$version" "$(digest Dockerfile.$name "$work/binaries/$name")" \
            --file Dockerfile.$name --target $name $binaries .
    done
} >"$work/archives"
for name in controller speaker; do
    # shellcheck disable=SC2086
    image "ferrolb.test/$name-debug:1" "$(digest Dockerfile.$name frr/* "$work/binaries/$name")" \
        --file Dockerfile.$name --target debug --layers $binaries . >/dev/null
done
if [ "${1:-}" = --sizes ]; then
    while read -r file; do
        name=$(basename "$file" | sed 's/-[0-9a-f]*\.tar$//')
        packed=$(gzip -c "$file" | wc -c)
        echo "$name $packed $(stat -c %s "$file")" |
            awk '{ printf "%-36s %6.1f MB packed %6.1f MB\n", $1, $2 / 1e6, $3 / 1e6 }'
    done <"$work/archives"
else
    cat "$work/archives"
fi
