# For the scripts beside it: where what they build is kept, and a Go that can build it, or the end.
cache=${FERROLB_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/ferrolb}

need_go() {
    found=$(go env GOVERSION 2>/dev/null || true)
    go_minor=$(echo "$found" | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    if [ "${go_minor:-0}" -lt 26 ]; then
        echo "the cluster tests need Go >= 1.26 in PATH (found: ${found:-none}); see https://go.dev/doc/install" >&2
        exit 1
    fi
    mkdir -p "$cache"
}
