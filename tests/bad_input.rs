//! A manifest directory with faults: each is told of the object that has it, and everything else goes on.

use ferrolb::run::render::render;
use std::fs;

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
status:
  addresses: [{type: InternalIP, address: 192.0.2.100}]
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p, namespace: metallb-system}
spec: {addresses: [10.0.0.0/30]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: good, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64501, peerAddress: 192.0.2.1}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: loopback, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64501, peerAddress: 127.0.0.1}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: itself, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64501, peerAddress: 192.0.2.100}
---
apiVersion: v1
kind: Service
metadata: {name: good, namespace: default, annotations: {metallb.io/loadBalancerIPs: "10.0.0.1\n"}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: misfit, namespace: default}
spec: {type: LoadBalancer, ipFamilies: [IPv9], ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: good-1, namespace: default, labels: {kubernetes.io/service-name: good}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: misfit-1, namespace: default, labels: {kubernetes.io/service-name: misfit}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.2]}]
"#;

#[test]
fn the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("all.yaml"), MANIFESTS).unwrap();
    let (conf, problems) = render(dir.path(), "metallb-system", "n1", Vec::new()).unwrap();
    let told: Vec<String> =
        problems.iter().map(|p| format!("{} {} {}", p.object, p.field, p.what.lines().count())).collect();
    assert_eq!(told, ["BGPPeer itself spec.peerAddress 1", "BGPPeer loopback spec.peerAddress 1"]);
    let neighbors: Vec<&str> =
        conf.lines().filter(|line| line.contains("remote-as")).map(str::trim).collect();
    assert_eq!(neighbors, ["neighbor 192.0.2.1 remote-as 64501"]);
    let networks: Vec<&str> =
        conf.lines().filter_map(|line| line.trim().strip_prefix("network ")?.split(' ').next()).collect();
    assert_eq!(networks, ["10.0.0.1/32"]);
}

/// As the speaker does that has the flag.
#[test]
fn what_no_neighbor_may_tell_is_in_what_is_rendered() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("all.yaml"), MANIFESTS).unwrap();
    let (conf, _) =
        render(dir.path(), "metallb-system", "n1", vec!["10.96.0.0/12".parse().unwrap()]).unwrap();
    assert!(conf.contains(" permit 10.96.0.0/12 le 32\n"), "{conf}");
    assert_eq!(ferrolb::io::settings::prefixes("10.96.0.0/12, ").unwrap(), ["10.96.0.0/12".parse().unwrap()]);
}
