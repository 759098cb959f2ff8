//! Which nodes may announce at all, seen at the routers.

use anyhow::Result;
use ferrolb_e2e::{
    lab::prefix,
    objects::{self, Service},
};

use crate::world::{World, object};

/// One router of each make, and both families.
const PEERS: [(&str, bool); 4] = [("f8-v4", false), ("bd-v4", false), ("go", false), ("f10-v6", true)];

/// A node whose network is not there, or that is labelled to be left out, announces nothing; the other one goes on. An
/// endpoint that is neither ready nor serving is none, and one that still serves while it ends is one. No session notices.
#[test]
fn who_may_announce() -> Result<()> {
    let world = World::get()?;
    world.lab.manifests.put("advertisement", &object("BGPAdvertisement", "all", "{}"))?;
    let service = Service::new("one", "ads", &world.lab.fabric);
    let addresses = world.lab.add(&service)?;
    let told = |by: &[&str]| {
        for (peer, v6) in PEERS {
            for ip in addresses.iter().filter(|ip| ip.is_ipv6() == v6) {
                for node in world.lab.names() {
                    let announces = by.contains(&node.as_str());
                    world.wait_told(peer, &node, &prefix(*ip), |path| path.is_some() == announces)?;
                }
            }
        }
        world.undisturbed(&[])
    };
    let node = |name: &str| Ok::<_, anyhow::Error>(objects::node(world.lab.fabric.node(name)?));
    let put = |name: &str, text: &str| world.lab.manifests.put(&format!("node-{name}"), text);
    told(&["n1", "n2"])?;

    let condition = |status: &str| {
        let conditions = format!("  conditions:\n  - {{type: NetworkUnavailable, status: \"{status}\"}}\n");
        Ok::<_, anyhow::Error>(node("n1")?.replacen("  conditions:\n", &conditions, 1))
    };
    put("n1", &condition("True")?)?;
    told(&["n2"])?;
    put("n1", &condition("False")?)?;
    told(&["n1", "n2"])?;

    world.label("n2", "node.kubernetes.io/exclude-from-external-load-balancers: \"\"")?;
    told(&["n1"])?;
    put("n2", &node("n2")?)?;
    told(&["n1", "n2"])?;

    let serving = service.yaml(&world.lab.fabric);
    let with = |conditions: &str| {
        let text = serving.replace("{ready: true, serving: true}", conditions);
        world.lab.manifests.put("service-one", &text)
    };
    with("{ready: false, serving: false}")?;
    told(&[])?;
    with("{ready: false, serving: true, terminating: true}")?;
    told(&["n1", "n2"])
}
