//! The definitions of the kinds of objects: the files are fresh, and they accept and refuse what MetalLB's do.
//!
//! CEL is evaluated here as kube does it; a real API server judges the same files in the cluster tier.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "functions of a test may fail it; clippy only knows those that are tests themselves"
)]

use ferrolb::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path};

const RENEW: &str = "renew with: cargo run --bin ferrolb -- crds --dir manifests/crds";

#[test]
fn files_are_fresh() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds");
    let mut expected = BTreeSet::new();
    for (file, crd) in api::crds() {
        let text = api::manifest(&crd).unwrap();
        assert!(
            fs::read_to_string(dir.join(&file)).is_ok_and(|found| found == text),
            "manifests/crds/{file} is stale; {RENEW}"
        );
        let read: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, crd, "{file} says what the definition says");
        expected.insert(file);
    }
    let mut found: BTreeSet<String> =
        fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    // the list of all of them, for the manifests
    assert!(found.remove("kustomization.yaml"));
    assert_eq!(found, expected, "{RENEW}");
    let list: Value =
        serde_saphyr::from_str(&fs::read_to_string(dir.join("kustomization.yaml")).unwrap()).unwrap();
    assert_eq!(list["resources"], json!(expected));
}

#[test]
fn names_columns_and_subresources() {
    let all: Vec<String> = api::crds()
        .iter()
        .filter(|(_, crd)| crd.spec.group == "metallb.io")
        .map(|(_, crd)| {
            let version = &crd.spec.versions[0];
            let columns: Vec<String> = version
                .additional_printer_columns
                .iter()
                .flatten()
                .map(|c| {
                    let priority = c.priority.map(|p| format!(" {p}")).unwrap_or_default();
                    format!("{}={}:{}{priority}", c.name, c.json_path, c.type_)
                })
                .collect();
            assert!(version.served && version.storage && crd.spec.scope == "Namespaced");
            assert!(version.subresources.as_ref().unwrap().status.is_some());
            assert!(crd.spec.names.short_names.is_none() && crd.spec.names.categories.is_none());
            format!("{}/{} {}", crd.spec.names.plural, version.name, columns.join(" | "))
        })
        .collect();
    expect_test::expect![[r#"
        bfdprofiles/v1beta1 Passive Mode=.spec.passiveMode:boolean | Transmit Interval=.spec.transmitInterval:integer | Receive Interval=.spec.receiveInterval:integer | Multiplier=.spec.detectMultiplier:integer
        bgpadvertisements/v1beta1 IPAddressPools=.spec.ipAddressPools:string | IPAddressPool Selectors=.spec.ipAddressPoolSelectors:string | Peers=.spec.peers:string | Node Selectors=.spec.nodeSelectors:string 10
        bgppeers/v1beta2 Address=.spec.peerAddress:string | ASN=.spec.peerASN:string | BFD Profile=.spec.bfdProfile:string | Multi Hops=.spec.ebgpMultiHop:string
        communities/v1beta1 
        configurationstates/v1beta1 Result=.status.result:string | ErrorSummary=.status.errorSummary:string | Age=.metadata.creationTimestamp:date
        ipaddresspools/v1beta1 Auto Assign=.spec.autoAssign:boolean | Avoid Buggy IPs=.spec.avoidBuggyIPs:boolean | Addresses=.spec.addresses:string
        l2advertisements/v1beta1 IPAddressPools=.spec.ipAddressPools:string | IPAddressPool Selectors=.spec.ipAddressPoolSelectors:string | Interfaces=.spec.interfaces:string | Node Selectors=.spec.nodeSelectors:string 10
        servicebgpstatuses/v1beta1 Node=.status.node:string | Service Name=.status.serviceName:string | Service Namespace=.status.serviceNamespace:string
        servicel2statuses/v1beta1 Allocated Node=.status.node:string | Service Name=.status.serviceName:string | Service Namespace=.status.serviceNamespace:string"#]]
    .assert_eq(&all.join("\n"));
}

/// The schema of a kind.
fn schema(plural: &str) -> Value {
    let (_, crd) = api::crds().into_iter().find(|(_, c)| c.spec.names.plural == plural).unwrap();
    serde_json::to_value(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap())
        .unwrap()
}

/// What an API server finds wrong with `value`: its schema, then the CEL rules. `old` is the object before an update.
fn refusals(plural: &str, spec: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = schema(plural);
    let object = |spec: &Value| match spec {
        Value::Null => json!({}),
        spec => json!({ "spec": spec }),
    };
    let mut faults = Vec::new();
    structure(&schema, &object(spec), "", &mut faults);
    if faults.is_empty() {
        let old = old.map(object);
        if let Err(errors) = kube::core::cel::Validator::new().validate(&schema, &object(spec), old.as_ref())
        {
            faults.extend(errors.iter().map(|e| e.message.clone()));
        }
    }
    faults
}

/// The part of a structural schema that ours use.
fn structure(schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    if schema["type"] != kind {
        faults.push(format!("{path}: is {kind}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            faults.push(format!("{path}: needs {name}"));
        }
    }
    let bound = |key: &str| schema[key].as_f64();
    if let Some(number) = value.as_f64()
        && (bound("minimum").is_some_and(|m| number < m) || bound("maximum").is_some_and(|m| number > m))
    {
        faults.push(format!("{path}: out of bounds"));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        faults.push(format!("{path}: not one of the values"));
    }
    for item in value.as_array().into_iter().flatten() {
        structure(&schema["items"], item, &format!("{path}[]"), faults);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => {
                structure(schema, value, &format!("{path}.{key}"), faults);
            }
            (None, None) => faults.push(format!("{path}.{key}: unknown")),
        }
    }
}

#[test]
fn accepted() {
    let peer = |more: Value| {
        let mut spec = json!({"myASN": 64500});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    for (plural, spec) in [
        ("ipaddresspools", json!({"addresses": []})),
        ("ipaddresspools", json!({"addresses": ["x"], "autoAssign": false, "avoidBuggyIPs": true})),
        (
            "ipaddresspools",
            json!({"addresses": [], "serviceAllocation": {"priority": -5, "namespaces": ["a"],
            "namespaceSelectors": [{}], "serviceSelectors": [{"matchLabels": {"a": "b"}}]}}),
        ),
        ("l2advertisements", Value::Null),
        ("l2advertisements", json!({})),
        (
            "l2advertisements",
            json!({"ipAddressPools": ["a"], "interfaces": ["eth0"],
            "nodeSelectors": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}],
            "preferredNodeSelectors": [{"weight": 100, "preference": {}}]}),
        ),
        ("bgpadvertisements", Value::Null),
        (
            "bgpadvertisements",
            json!({"aggregationLength": 24, "aggregationLengthV6": 0, "localPref": 4294967295_u32}),
        ),
        ("bgpadvertisements", json!({"serviceSelectors": [], "aggregationLength": 24})),
        (
            "bgpadvertisements",
            json!({"serviceSelectors": [{}], "aggregationLength": 32, "aggregationLengthV6": 128}),
        ),
        ("bgpadvertisements", json!({"serviceSelectors": [{}], "communities": ["a"], "peers": ["b"]})),
        ("bgppeers", peer(json!({"myASN": 0, "peerASN": 0, "peerAddress": "x"}))),
        ("bgppeers", peer(json!({"myASN": 4294967295_u32, "peerASN": 4294967295_u32, "localASN": 1}))),
        ("bgppeers", peer(json!({"dynamicASN": "internal", "interface": "eth0", "peerPort": 16384}))),
        ("bgppeers", peer(json!({"connectTime": "1s", "holdTime": "90s", "keepaliveTime": "30s"}))),
        ("bgppeers", peer(json!({"connectTime": "18h12m15s"}))),
        ("bgppeers", peer(json!({"passwordSecret": {"name": "a", "namespace": "b"}, "password": "x"}))),
        (
            "bgppeers",
            peer(json!({"disableMP": true, "dualStackAddressFamily": true, "ebgpMultiHop": true,
            "enableGracefulRestart": true, "vrf": "red", "bfdProfile": "f", "routerID": "1.2.3.4",
            "sourceAddress": "x", "nodeSelectors": [{"matchLabels": {"a": "b"}}]})),
        ),
        ("bfdprofiles", Value::Null),
        (
            "bfdprofiles",
            json!({"receiveInterval": 10, "transmitInterval": 60000, "detectMultiplier": 2,
            "echoInterval": 10, "echoMode": true, "passiveMode": true, "minimumTtl": 254}),
        ),
        ("communities", Value::Null),
        ("communities", json!({"communities": [{}, {"name": "a", "value": "b"}]})),
    ] {
        assert_eq!(refusals(plural, &spec, None), Vec::<String>::new(), "{plural} {spec}");
    }
}

#[test]
fn refused() {
    let connect = |time: &str| json!({"myASN": 1, "connectTime": time});
    let exclusive = "serviceSelectors and aggregationLength are mutually exclusive";
    let bounds = "out of bounds";
    for (plural, spec, why) in [
        ("ipaddresspools", Value::Null, "needs \"spec\""),
        ("ipaddresspools", json!({}), "needs \"addresses\""),
        ("ipaddresspools", json!({"addresses": "10.0.0.0/24"}), ".spec.addresses: is string"),
        ("ipaddresspools", json!({"addresses": [], "autoAssign": "yes"}), ".spec.autoAssign: is string"),
        (
            "ipaddresspools",
            json!({"addresses": [], "serviceAllocation": {"priority": "1"}}),
            "priority: is string",
        ),
        ("l2advertisements", json!({"preferredNodeSelectors": [{"weight": 0, "preference": {}}]}), bounds),
        ("l2advertisements", json!({"preferredNodeSelectors": [{"weight": 101, "preference": {}}]}), bounds),
        ("l2advertisements", json!({"preferredNodeSelectors": [{"weight": 1}]}), "needs \"preference\""),
        ("l2advertisements", json!({"preferredNodeSelectors": [{"preference": {}}]}), "needs \"weight\""),
        (
            "l2advertisements",
            json!({"nodeSelectors": [{"matchExpressions": [{"key": "k"}]}]}),
            "needs \"operator\"",
        ),
        ("bgpadvertisements", json!({"aggregationLength": 0}), bounds),
        ("bgpadvertisements", json!({"serviceSelectors": [{}], "aggregationLength": 24}), exclusive),
        ("bgpadvertisements", json!({"serviceSelectors": [{}], "aggregationLengthV6": 64}), exclusive),
        ("bgppeers", json!({}), "needs \"myASN\""),
        ("bgppeers", json!({"myASN": -1}), bounds),
        ("bgppeers", json!({"myASN": 4294967296_u64}), bounds),
        ("bgppeers", json!({"myASN": 1, "peerASN": 4294967296_u64}), bounds),
        ("bgppeers", json!({"myASN": 1, "localASN": 0}), bounds),
        ("bgppeers", json!({"myASN": 1, "peerPort": 0}), bounds),
        ("bgppeers", json!({"myASN": 1, "peerPort": 16385}), bounds),
        ("bgppeers", json!({"myASN": 1, "dynamicASN": "both"}), "not one of the values"),
        ("bgppeers", json!({"myASN": 1, "holdTime": 90}), ".spec.holdTime: is integer"),
        ("bgppeers", connect("0s"), "connect time should be between 1 seconds to 65535"),
        ("bgppeers", connect("65536s"), "connect time should be between 1 seconds to 65535"),
        ("bgppeers", connect("1500ms"), "connect time should contain a whole number of seconds"),
        ("bfdprofiles", json!({"receiveInterval": 9}), bounds),
        ("bfdprofiles", json!({"transmitInterval": 60001}), bounds),
        ("bfdprofiles", json!({"echoInterval": 9}), bounds),
        ("bfdprofiles", json!({"detectMultiplier": 1}), bounds),
        ("bfdprofiles", json!({"detectMultiplier": 256}), bounds),
        ("bfdprofiles", json!({"minimumTtl": 0}), bounds),
        ("bfdprofiles", json!({"minimumTtl": 255}), bounds),
        ("communities", json!({"communities": ["1:2"]}), "is string"),
    ] {
        let found = refusals(plural, &spec, None);
        assert!(found.iter().any(|f| f.contains(why)), "{plural} {spec}: {found:?}");
    }
}

#[test]
fn graceful_restart_is_immutable_once_written() {
    let peer = |restart: Option<bool>| match restart {
        Some(restart) => json!({"myASN": 1, "enableGracefulRestart": restart}),
        None => json!({"myASN": 1}),
    };
    let update = |old, new| refusals("bgppeers", &peer(new), Some(&peer(old)));
    assert_eq!(update(Some(true), Some(false)), ["EnableGracefulRestart cannot be changed after creation"]);
    for (old, new) in [(Some(true), Some(true)), (None, Some(true)), (Some(true), None)] {
        assert_eq!(update(old, new), Vec::<String>::new(), "{old:?} to {new:?}");
    }
}

#[test]
fn schemas_are_as_the_api_server_wants_them() {
    fn walk(schema: &Value, path: &str) {
        assert!(schema.get("nullable").is_none(), "{path}: a null must be dropped, or has() is true of it");
        assert!(schema["type"].is_string(), "{path}: structural schemas have a type everywhere");
        let unsigned = schema["format"].as_str().is_some_and(|format| format.starts_with("uint"));
        assert!(!unsigned, "{path}: Kubernetes knows no unsigned formats");
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            walk(value, &format!("{path}.{key}"));
        }
        schema.get("items").into_iter().for_each(|items| walk(items, &format!("{path}[]")));
        schema
            .get("additionalProperties")
            .into_iter()
            .for_each(|values| walk(values, &format!("{path}{{}}")));
    }
    for (file, crd) in api::crds() {
        walk(&schema(&crd.spec.names.plural), &file);
    }
    let defaults = |plural: &str, field: &str| {
        schema(plural)["properties"]["spec"]["properties"][field]["default"].clone()
    };
    assert_eq!(defaults("ipaddresspools", "autoAssign"), true);
    assert_eq!(defaults("ipaddresspools", "avoidBuggyIPs"), false);
    assert_eq!(defaults("bgppeers", "peerPort"), 179);
    assert_eq!(defaults("bgppeers", "disableMP"), false);
    assert_eq!(defaults("bgppeers", "dualStackAddressFamily"), false);
    assert_eq!(defaults("bgpadvertisements", "aggregationLength"), 32);
    assert_eq!(defaults("bgpadvertisements", "aggregationLengthV6"), 128);
}

#[test]
fn objects_survive_the_wire() {
    let text =
        json!({"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": {"name": "l"}});
    let object: api::L2Advertisement = serde_json::from_value(text).unwrap();
    assert_eq!(object.spec, api::L2AdvertisementSpec::default());
    let back = serde_json::to_value(&object).unwrap();
    assert_eq!(back["spec"], json!({}));
    let peer = json!({"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": {"name": "p"},
        "spec": {"myASN": 4294967295_u32, "dynamicASN": "external", "interface": "eth0", "peerPort": 179,
                 "holdTime": "1m30s", "disableMP": false, "dualStackAddressFamily": false}});
    let object: api::BGPPeer = serde_json::from_value(peer.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), peer);
}
