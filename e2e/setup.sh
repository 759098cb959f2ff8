#!/bin/sh
# Installs the OS packages that the lab needs, on Debian 12 and 13; says nothing when none is missing.
#
# The packages' own daemons are not started, now or at the next boot: the lab starts its own, in namespaces.
set -eu

# the program that must be there, and the package that brings it
missing=
while read -r program package; do
    [ -n "$program" ] || continue
    found=
    for dir in /usr/bin /usr/sbin /bin /sbin /usr/local/bin /usr/local/sbin /usr/lib/frr /usr/lib/cni; do
        [ ! -x "$dir/$program" ] || found=1
    done
    [ -n "$found" ] || missing="$missing $package"
done <<LIST
ip iproute2
nsenter util-linux
sysctl procps
nft nftables
zebra frr
bgpd frr
vtysh frr
frr-reload.py frr-pythontools
bird bird2
gobgpd gobgpd
gobgp gobgpd
arping arping
ndisc6 ndisc6
tcpdump tcpdump
curl curl
tshark tshark
cc build-essential
containerd containerd
runc runc
host-local containernetworking-plugins
iptables iptables
buildah buildah
mmdebstrap mmdebstrap
setcap libcap2-bin
LIST
missing=$(echo "$missing" | tr ' ' '\n' | sort -u | tr '\n' ' ')
missing=$(echo $missing)
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "e2e/setup.sh: these packages are missing, and installing them needs root: $missing" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "e2e/setup.sh: these packages are missing, and there is no apt-get to install them: $missing" >&2
    exit 1
fi

echo "e2e/setup.sh: installing $missing" >&2
# invoke-rc.d and deb-systemd-invoke ask this file before they start a service
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "e2e/setup.sh: apt-get failed" >&2
    exit 1
fi
rm -f "$log"
if [ -d /run/systemd/system ]; then
    for package in $missing; do
        case $package in
        frr) systemctl disable --quiet frr.service ;;
        bird2) systemctl disable --quiet bird.service ;;
        containerd) systemctl disable --quiet containerd.service ;;
        esac
    done
fi
