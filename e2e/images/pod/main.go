// Command pod is what the tests' own Pods run: a sandbox that waits, and an HTTP server that says who answered whom.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "pause":
		pause()
	case len(os.Args) == 4 && os.Args[1] == "serve":
		serve(os.Args[2], os.Args[3])
	default:
		fmt.Fprintln(os.Stderr, "usage: pod pause | pod serve NAME PORT")
		os.Exit(2)
	}
}

// pause buries what a Pod's containers leave to its first process, and ends when told to.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

// serve answers every request with one line: the name, and the address that asked.
func serve(name, port string) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		fmt.Fprintf(w, "%s %s\n", name, host)
	}
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+port, http.HandlerFunc(answer)))
	os.Exit(1)
}
