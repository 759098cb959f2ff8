// Command kube is one Kubernetes release in one binary: the first argument says which of its programs to be.
//
// The cluster tests run it once per program, so that they meet real defaulting, schema rules, RBAC, watches and
// service routing. Nothing here is changed or faked; every program but etcd parses its own flags. etcd is embedded
// and knows the few flags that the tests give, spelt as the real one spells them.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"

	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	os.Args = os.Args[1:] // each program takes its own name from argv[0]
	if os.Args[0] == "etcd" {
		if err := etcd(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "etcd:", err)
			os.Exit(1)
		}
		return
	}
	program, known := programs[os.Args[0]]
	if !known {
		usage()
	}
	os.Exit(cli.Run(program()))
}

func usage() {
	names := slices.Sorted(maps.Keys(programs))
	fmt.Fprintln(os.Stderr, "usage: kube etcd |", strings.Join(names, " | "), "[flags of that program]")
	os.Exit(2)
}

// etcd runs one member until it fails.
func etcd(args []string) error {
	config := embed.NewConfig()
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	flags.StringVar(&config.Dir, "data-dir", "", "where the data is kept")
	flags.StringVar(&config.LogLevel, "log-level", "error", "debug, info, warn or error")
	flags.BoolVar(&config.UnsafeNoFsync, "unsafe-no-fsync", false, "do not wait for the disk")
	urls := map[string]*[]url.URL{
		"listen-client-urls":    &config.ListenClientUrls,
		"advertise-client-urls": &config.AdvertiseClientUrls,
		"listen-peer-urls":      &config.ListenPeerUrls,
	}
	for name, list := range urls {
		flags.Func(name, "one URL", func(text string) error {
			parsed, err := url.Parse(text)
			if err == nil {
				*list = []url.URL{*parsed}
			}
			return err
		})
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	return <-server.Err()
}
