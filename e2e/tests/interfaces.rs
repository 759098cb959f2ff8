//! A node's interfaces, as the kernel tells of them: which can announce, which are left alone, and none missed.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result};
use ferrolb::{
    io::{
        excluded::Excluded,
        link::{observe, observe_but},
    },
    net::Links,
};
use ferrolb_e2e::{netns::Net, process::Spawn, warden::Warden};

const SOON: Duration = Duration::from_secs(30);

/// What an address cannot be announced on: no carrier, no ARP, a bridge's port, no Ethernet. What it can be: whatever
/// else has a hardware address.
#[test]
fn interfaces_that_can_announce() -> Result<()> {
    let warden = Warden::start()?;
    let (node, other) = (Net::create(&warden, "node")?, Net::create(&warden, "other")?);
    for name in ["good", "mute", "port", "dark", "down"] {
        node.cable(name, &[], &other, name, &[])?;
    }
    node.bridge("br0")?;
    for words in [
        "link set dev mute arp off",
        "link set dev port master br0",
        "link set dev down down",
        "link add link good name twin type macvlan",
        "link set dev twin up",
        "tuntap add dev tun0 mode tun",
        "link set dev tun0 up",
        "link set dev lo up",
    ] {
        node.ip(words)?;
    }
    other.ip("link set dev dark down")?;
    node.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut links, follow) = observe().await?;
            let can = |links: &Links| -> BTreeSet<String> {
                links.values().filter(|link| link.can_announce()).map(|link| link.name.to_string()).collect()
            };
            let expected = BTreeSet::from(["br0", "good", "twin"].map(str::to_owned));
            // the kernel says a little later that a carrier has come or gone
            let told = async {
                links.wait_for(|links| can(links) == expected).await?;
                Ok(())
            };
            let both = async {
                tokio::select! { end = follow => end, end = told => end }
            };
            let end = tokio::time::timeout(SOON, both).await;
            let links = links.borrow();
            end.with_context(|| format!("{:?} can: {links:#?}", can(&links)))??;
            assert_eq!(links.len(), 9, "{links:#?}");
            Ok(())
        })
    })
}

#[test]
fn dropped_notices_are_made_up_for() -> Result<()> {
    const BRIDGES: usize = 400;
    let warden = Warden::start()?;
    let node = Net::create(&warden, "node")?;
    let batch = warden.dir().join("bridges");
    let lines: String = (0..BRIDGES).map(|n| format!("link add name b{n} type bridge\n")).collect();
    std::fs::write(&batch, lines)?;
    node.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut links, follow) = observe().await?;
            assert_eq!(links.borrow().values().map(|link| link.name.to_string()).collect::<Vec<_>>(), ["lo"]);
            // Nobody reads meanwhile: far more notices than the socket holds.
            Spawn::new("ip").args(["-n", node.name(), "-batch"]).arg(&batch).text()?;
            let all = async {
                links.wait_for(|links| links.len() > BRIDGES).await?;
                Ok(())
            };
            let both = async {
                tokio::select! { end = follow => end, end = all => end }
            };
            tokio::time::timeout(SOON, both).await.context("interfaces are missing")?
        })
    })
}

/// An interface that is to be left alone is as good as absent, until it gets another name.
#[test]
fn interfaces_can_be_left_alone() -> Result<()> {
    let warden = Warden::start()?;
    let node = Net::create(&warden, "node")?;
    node.bridge("docker0")?;
    let path = warden.dir().join("excludel2.yaml");
    std::fs::write(&path, "announcedInterfacesToExclude: [\"^docker.*\", \"^lo$\"]")?;
    let excluded = Excluded::read(&path)?;
    node.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut links, follow) = observe_but(excluded).await?;
            let named = |links: &Links| links.values().map(|link| link.name.to_string()).collect::<Vec<_>>();
            assert!(links.borrow().is_empty(), "{:?}", links.borrow());
            let renamed = async {
                Spawn::new("ip")
                    .args(["-n", node.name(), "link", "set", "dev", "docker0", "name", "br7"])
                    .text()?;
                links.wait_for(|links| named(links) == ["br7"]).await?;
                Spawn::new("ip")
                    .args(["-n", node.name(), "link", "set", "dev", "br7", "name", "docker9"])
                    .text()?;
                links.wait_for(Links::is_empty).await?;
                Ok(())
            };
            let both = async {
                tokio::select! { end = follow => end, end = renamed => end }
            };
            tokio::time::timeout(SOON, both).await.context("a name was missed")?
        })
    })
}
