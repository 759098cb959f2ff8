//! The node's interfaces, from the kernel's own notices: no polling.
//!
//! Subscribe, read all, then follow. Notices that the kernel had to drop are made up for by reading all again.
//! Nothing here decides what an interface is good for; [`Link::can_announce`] does.

use super::excluded::Excluded;
use crate::net::{IfIndex, Link, Links, Mac};
use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    Handle, MulticastGroup,
    packet_core::NetlinkPayload,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkAttribute, LinkFlags, LinkMessage},
    },
};
use std::future::Future;
use tokio::sync::watch;
use tracing::warn;

/// The interfaces, read once already, and the task that keeps them up to date; it ends only with an error, or when
/// nobody is left to tell. Needs no capability.
///
/// # Errors
/// The kernel's, from the socket or the first reading.
pub async fn observe() -> anyhow::Result<(watch::Receiver<Links>, impl Future<Output = anyhow::Result<()>>)> {
    observe_but(Excluded::default()).await
}

/// As [`observe`], but for those that are left alone: as if they were not there.
///
/// # Errors
/// As [`observe`].
pub async fn observe_but(
    excluded: Excluded,
) -> anyhow::Result<(watch::Receiver<Links>, impl Future<Output = anyhow::Result<()>>)> {
    let (connection, handle, mut notices) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).context("open a netlink socket")?;
    let mut connection = Box::pin(connection);
    let links = tokio::select! {
        links = read_all(&handle, &excluded) => links?,
        () = &mut connection => anyhow::bail!("the netlink socket closed"),
    };
    let (told, receiver) = watch::channel(links);
    let follow = async move {
        loop {
            let notice = tokio::select! {
                notice = notices.next() => notice,
                () = &mut connection => None,
                () = told.closed() => return Ok(()),
            };
            let (message, _) = notice.context("the netlink socket closed")?;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                    tell(&told, |links| put(links, &message, &excluded));
                }
                // A port that leaves its bridge is "deleted" in the bridge's family only.
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) if is_plain(&message) => {
                    tell(&told, |links| drop(links.remove(&IfIndex(message.header.index))));
                }
                NetlinkPayload::Overrun(_) => {
                    warn!("the kernel dropped notices about interfaces, reading all of them again");
                    let links = tokio::select! {
                        links = read_all(&handle, &excluded) => links?,
                        () = &mut connection => anyhow::bail!("the netlink socket closed"),
                    };
                    tell(&told, |old| *old = links);
                }
                _ => {}
            }
        }
    };
    Ok((receiver, follow))
}

/// Applies `change` and wakes the listeners if anything that matters is different.
fn tell(told: &watch::Sender<Links>, change: impl FnOnce(&mut Links)) {
    told.send_if_modified(|links| {
        let before = links.clone();
        change(links);
        before != *links
    });
}

async fn read_all(handle: &Handle, excluded: &Excluded) -> anyhow::Result<Links> {
    let messages: Vec<LinkMessage> =
        handle.link().get().execute().try_collect().await.context("list the interfaces")?;
    let mut links = Links::new();
    for message in &messages {
        put(&mut links, message, excluded);
    }
    Ok(links)
}

fn put(links: &mut Links, message: &LinkMessage, excluded: &Excluded) {
    let Some(link) = link(message) else { return };
    let index = IfIndex(message.header.index);
    // an interface can get another name
    if excluded.has(&link.name) { drop(links.remove(&index)) } else { drop(links.insert(index, link)) }
}

fn is_plain(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

/// The facts in `message`; `None` if it is about one family's part of the interface only.
fn link(message: &LinkMessage) -> Option<Link> {
    if !is_plain(message) {
        return None;
    }
    let flags = message.header.flags;
    let (mut name, mut mac, mut enslaved, mut carrier_changes) = (None, None, false, 0);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.as_str().into()),
            LinkAttribute::Address(address) => mac = address.as_slice().try_into().ok().map(Mac),
            LinkAttribute::Controller(master) => enslaved = *master != 0,
            LinkAttribute::CarrierChanges(count) => carrier_changes = *count,
            _ => {}
        }
    }
    Some(Link {
        name: name?,
        mac: mac.filter(|mac| *mac != Mac::ZERO),
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running),
        enslaved,
        broadcast: flags.contains(LinkFlags::Broadcast)
            && !flags.intersects(LinkFlags::Loopback | LinkFlags::Noarp),
        carrier_changes,
    })
}
