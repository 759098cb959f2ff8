#!/bin/sh
# enter.sh ROOT DIR START [VRF=NAMESPACE...]
#
# Becomes an FRR: runs START (the product's frr/start) in a mount namespace of its own, which the caller has made, on
# what DIR holds: run/ (sockets and pids), etc/ (daemons, vtysh.conf) and frr.conf. With a ROOT it runs in there, where
# DIR is /mnt/frr. DIR/run is /var/run/frr too: newer versions have sockets whose path no option changes.
#
# Each VRF is another network namespace, which zebra (with -n) finds under that name.
set -eu
root=$1 dir=$2 start=$3
shift 3

if [ "$root" != / ]; then
    # nothing is ever written into the root itself: others run from it
    for at in /mnt /run /tmp /var/tmp /var/lib/frr; do
        mkdir -p "$root$at"
        mount -t tmpfs tmpfs "$root$at"
    done
    mkdir -p "$root/mnt/frr" "$root/mnt/product"
    mount --bind "$dir" "$root/mnt/frr"
    mount --bind "$(dirname "$start")" "$root/mnt/product"
    mount --bind /proc "$root/proc"
    mount --bind /dev "$root/dev"
fi
mkdir -p "$root/run/frr"
mount --bind "$dir/run" "$root/run/frr"

if [ $# != 0 ]; then
    # made aside, since it covers the names that it is made from
    mkdir -p "$dir/vrf"
    mount -t tmpfs tmpfs "$dir/vrf"
    for vrf in "$@"; do
        : >"$dir/vrf/${vrf%%=*}"
        mount --bind "${vrf#*=}" "$dir/vrf/${vrf%%=*}"
    done
    mkdir -p "$root/run/netns"
    mount --rbind "$dir/vrf" "$root/run/netns"
fi

if [ "$root" = / ]; then
    exec "$start"
fi
exec chroot "$root" "/mnt/product/$(basename "$start")"
