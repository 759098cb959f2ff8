#!/bin/sh
# Makes a root with Debian 13's FRR 10 beside the machine's own FRR 8, once, in a cache outside the tree; prints its
# path. Cold this takes about a minute and fetches Debian packages; later calls only print.
set -eu
cd "$(dirname "$0")"

cache=${FERROLB_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/ferrolb}
root=$cache/frr10-$(sha256sum build.sh | cut -c 1-16)

if [ -x "$root/usr/lib/frr/bgpd" ]; then
    echo "$root"
    exit 0
fi
if ! command -v mmdebstrap >/dev/null; then
    echo "the root with FRR 10 needs mmdebstrap; e2e/setup.sh installs it" >&2
    exit 1
fi

mkdir -p "$cache"
# one at a time, whoever asks
exec 9>"$cache/frr10.lock"
flock 9
if [ ! -x "$root/usr/lib/frr/bgpd" ]; then
    unfinished=$(mktemp -d "$cache/frr10-making.XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    trap 'exit 130' INT TERM
    echo "making a Debian 13 root with FRR 10 (about a minute the first time)" >&2
    mmdebstrap --quiet --variant=minbase --include=frr trixie "$unfinished" >&2
    chmod 755 "$unfinished"
    mv "$unfinished" "$root" # a rename: nobody ever sees half a root
    trap - EXIT INT TERM
fi
echo "$root"
