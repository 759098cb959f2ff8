//! What the schemas refuse, they refuse readably: the API server names the field and what is wrong with it.

use anyhow::Result;

use crate::world::world;

#[test]
fn an_invalid_object_is_refused_with_a_readable_message() -> Result<()> {
    let world = world()?;
    for (kind, version, spec, words) in [
        ("IPAddressPool", "v1beta1", "{}", &["spec.addresses", "Required"][..]),
        ("IPAddressPool", "v1beta1", "{addresses: 10.0.0.0/24}", &["spec.addresses", "array"]),
        ("BGPPeer", "v1beta2", "{peerASN: 64513, peerAddress: 192.0.2.1}", &["spec.myASN", "Required"]),
        (
            "BGPPeer",
            "v1beta2",
            "{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, connectTime: 1500ms}",
            &["spec.connectTime", "whole number of seconds"],
        ),
        (
            "BGPAdvertisement",
            "v1beta1",
            "{aggregationLength: 26, serviceSelectors: [{matchLabels: {a: b}}]}",
            &["serviceSelectors and aggregationLength are mutually exclusive"],
        ),
        (
            "BGPPeer",
            "v1beta2",
            "{myASN: 4294967296, peerASN: 64513, peerAddress: 192.0.2.1}",
            &["spec.myASN", "4294967295"],
        ),
        (
            "BGPPeer",
            "v1beta2",
            "{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, peerPort: 16385}",
            &["spec.peerPort", "16384"],
        ),
        ("BFDProfile", "v1beta1", "{receiveInterval: 5}", &["spec.receiveInterval", "10"]),
        ("BGPAdvertisement", "v1beta1", "{aggregationLength: 0}", &["spec.aggregationLength", "1"]),
    ] {
        let object = format!(
            "apiVersion: metallb.io/{version}\nkind: {kind}\n\
             metadata: {{name: refused, namespace: metallb-system}}\nspec: {spec}\n"
        );
        let Err(refusal) = world.kubectl().apply(&object) else {
            anyhow::bail!("{kind} {spec} was accepted");
        };
        let refusal = format!("{refusal:#}");
        for word in words {
            assert!(refusal.contains(word), "{kind} {spec}: {word:?} is not in: {refusal}");
        }
    }
    Ok(())
}
