//! Text that would be more than one word of frr.conf: refused, with the field named, and nowhere in FRR.

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{fabric::NODE_ASN, lab::DEADLINE, wait};
use serde_json::Value;

use crate::world::{World, users};

/// Stands in every text, so that FRR's configuration can be searched for it.
const MARK: &str = "666666";

/// What is put into every field: text that begins well, and goes on as another line, a comment, a word more, a
/// control character, or without end.
fn texts() -> Vec<String> {
    let long = MARK.repeat(10_240 / MARK.len() + 1);
    let mut texts: Vec<String> = [
        "\n neighbor 6.6.6.6 shutdown",
        "\n!\n",
        "\nexit\nrouter bgp 666",
        "\r\nexit",
        " exit",
        "\tshutdown",
        "\u{0}",
        "\u{7}",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{a0}x",
        "\u{2028}exit",
    ]
    .map(|rest| format!("{MARK}{rest}"))
    .to_vec();
    texts.extend([format!("!{MARK}"), format!("#{MARK}"), long]);
    texts
}

/// The fields, with the object that has them; `TEXT` is where the text goes.
const FIELDS: [(&str, &str, &str, &str); 29] = [
    (
        "BGPPeer",
        "metallb.io/v1beta2",
        "spec.password",
        "{myASN: 64512, peerASN: 65000, peerAddress: 172.31.1.66, password: TEXT}",
    ),
    (
        "BGPPeer",
        "metallb.io/v1beta2",
        "spec.peerAddress",
        "{myASN: 64512, peerASN: 65000, peerAddress: TEXT}",
    ),
    ("BGPPeer", "metallb.io/v1beta2", "spec.interface", "{myASN: 64512, peerASN: 65000, interface: TEXT}"),
    (
        "BGPPeer",
        "metallb.io/v1beta2",
        "spec.vrf",
        "{myASN: 64512, peerASN: 65000, peerAddress: 172.31.1.66, vrf: TEXT}",
    ),
    (
        "BGPPeer",
        "metallb.io/v1beta2",
        "spec.sourceAddress",
        "{myASN: 64512, peerASN: 65000, peerAddress: 172.31.1.66, sourceAddress: TEXT}",
    ),
    (
        "BGPPeer",
        "metallb.io/v1beta2",
        "spec.routerID",
        "{myASN: 64512, peerASN: 65000, peerAddress: 172.31.1.66, routerID: TEXT}",
    ),
    (
        "BGPPeer",
        "metallb.io/v1beta2",
        "spec.bfdProfile",
        "{myASN: 64512, peerASN: 65000, peerAddress: 172.31.1.66, bfdProfile: TEXT}",
    ),
    ("BGPAdvertisement", "metallb.io/v1beta1", "spec.communities[0]", "{communities: [TEXT]}"),
    (
        "Community",
        "metallb.io/v1beta1",
        "spec.communities[0].value",
        "{communities: [{name: a, value: TEXT}]}",
    ),
    (
        "BGPPeer",
        "metallb.io/v1beta2",
        "metadata.name",
        "{myASN: 64512, peerASN: 65000, peerAddress: 172.31.1.66}",
    ),
    ("BFDProfile", "metallb.io/v1beta1", "metadata.name", "{receiveInterval: 300}"),
    // users' objects
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.bfdProfiles[0].name",
        "{bgp: {bfdProfiles: [{name: TEXT}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].vrf",
        "{bgp: {routers: [{asn: 64512, vrf: TEXT}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].id",
        "{bgp: {routers: [{asn: 64512, id: TEXT}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].prefixes[0]",
        "{bgp: {routers: [{asn: 64512, prefixes: [TEXT]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].address",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: TEXT}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].interface",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, interface: TEXT}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].password",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.66, password: TEXT}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].sourceaddress",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.66, sourceaddress: TEXT}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].bfdProfile",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.66, bfdProfile: TEXT}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].holdTime",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.66, holdTime: TEXT, keepaliveTime: 1s}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].toAdvertise.withCommunity[0].community",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.67, toAdvertise: {withCommunity: [{community: TEXT, prefixes: []}]}}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].connectTime",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.66, connectTime: TEXT}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].toAdvertise.nextHop.ipv4",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.66, toAdvertise: {nextHop: {ipv4: TEXT}}}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].toReceive.allowed.prefixes[0]",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.67, toReceive: {allowed: {prefixes: [{prefix: TEXT}]}}}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].neighbors[0].toAdvertise.allowed.prefixes[0]",
        "{bgp: {routers: [{asn: 64512, neighbors: [{asn: 65000, address: 172.31.1.67, toAdvertise: {allowed: {prefixes: [TEXT]}}}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].imports[0].vrf",
        "{bgp: {routers: [{asn: 64512, imports: [{vrf: TEXT}]}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].evpn.l2vnis[0].rd",
        "{bgp: {routers: [{asn: 64512, evpn: {l2vnis: [{vni: 7, rd: TEXT}]}}]}}",
    ),
    (
        "FRRConfiguration",
        "frrk8s.metallb.io/v1beta1",
        "spec.bgp.routers[0].evpn.l3vni.importRTs[0]",
        "{bgp: {routers: [{asn: 64512, evpn: {l3vni: {vni: 7, advertisePrefixes: [unicast], importRTs: [TEXT]}}}]}}",
    ),
];

/// Every text in every field is a problem of its own object and names the field; FRR has nothing of any, and no session
/// was interrupted.
#[test]
fn no_text_becomes_a_line() -> Result<()> {
    let world = World::get()?;
    let texts = texts();
    let mut expected = Vec::new();
    for (number, (kind, version, field, spec)) in FIELDS.iter().enumerate() {
        let mut documents = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let quoted = quoted(text);
            let plain = format!("evil-{number}-{index}");
            let own = *field == "metadata.name";
            let name = if own { quoted.clone() } else { format!("\"{plain}\"") };
            documents.push(document(kind, version, &name, &spec.replace("TEXT", &quoted)));
            // an object without a usable name is called by its place
            let object = match own {
                true => format!("File evil-{number}.yaml, document {}", index + 1),
                false => format!("{kind} {plain}"),
            };
            expected.push((object, *field));
        }
        world.lab.manifests.put(&format!("evil-{number}"), &documents.join("---\n"))?;
    }
    for (index, text) in texts.iter().enumerate() {
        let name = format!("evil-secret-{index}");
        let peer = format!(
            "{{myASN: 64512, peerASN: 65000, peerAddress: 172.31.1.66, passwordSecret: {{name: {name}}}}}"
        );
        let secret = format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: metallb-system\n\
             type: kubernetes.io/basic-auth\nstringData:\n  password: {}\n",
            quoted(text)
        );
        let peer = document("BGPPeer", "metallb.io/v1beta2", &format!("{name:?}"), &peer);
        world.lab.manifests.put(&name, &format!("{secret}---\n{peer}"))?;
        expected.push((format!("BGPPeer {name}"), "spec.passwordSecret"));
    }
    for node in world.lab.names() {
        let mut missing = Vec::new();
        wait::until_true(DEADLINE, "a problem for each text in each field", || {
            let problems = world.lab.manifests.problems(&format!("speaker-{node}"))?;
            let problems: Value = serde_saphyr::from_str(&problems)?;
            let problems: Vec<&Value> = problems.as_array().into_iter().flatten().collect();
            missing = expected
                .iter()
                .filter(|(object, field)| {
                    !problems.iter().any(|problem| {
                        problem.get("object").and_then(Value::as_str) == Some(object)
                            && problem.get("field").and_then(Value::as_str) == Some(field)
                    })
                })
                .cloned()
                .collect();
            Ok(missing.is_empty())
        })
        .with_context(|| {
            format!("{} without: {:#?}", missing.len(), missing.iter().take(20).collect::<Vec<_>>())
        })?;
    }
    // what comes after all of it has arrived, and so would it have
    let after = "10.79.0.0/24";
    let spec = format!("{{bgp: {{routers: [{{asn: {NODE_ASN}, prefixes: [{after}]}}]}}}}");
    world.lab.manifests.put("after", &users("after", &spec))?;
    for node in world.lab.names() {
        let frr = world.lab.frr(&node)?;
        let texts = wait::until(DEADLINE, &format!("{after} in the FRR of {node} and in its file"), || {
            let texts = [frr.vtysh("show running-config")?, std::fs::read_to_string(frr.conf())?];
            Ok(texts.iter().all(|text| text.contains(after)).then_some(texts))
        })
        .with_context(|| world.lab.logs())?;
        for text in texts {
            ensure!(
                !text.contains(MARK) && !text.contains("6.6.6.6") && !text.contains("172.31.1.66"),
                "{text}"
            );
        }
    }
    world.undisturbed(&[])
}

/// Text as YAML has it in quotes.
fn quoted(text: &str) -> String {
    // JSON leaves a character in that YAML does not have
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn document(kind: &str, version: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: metallb-system\nspec: {spec}\n"
    )
}
