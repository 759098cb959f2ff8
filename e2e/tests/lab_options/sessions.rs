//! Options of sessions.

use anyhow::{Result, ensure};
use ferrolb_e2e::peer::Restart;

use crate::world::World;

/// What was negotiated, at each router and with each node's FRR: whose AS, which families, how long the hold time is,
/// and whose routes are to be kept through a restart.
#[test]
fn negotiated_as_configured() -> Result<()> {
    let world = World::get()?;
    for standing in &world.standing {
        for node in world.lab.names() {
            let seen = world.seen(standing.object.name, &node)?;
            let families = standing.families.iter().copied().collect();
            ensure!(
                (seen.established, seen.asn, seen.hold, &seen.families)
                    == (true, standing.asn, standing.hold, &families),
                "{} of {node}: {seen:#?}",
                standing.object.name
            );
            let keeps = matches!(&seen.restart, Restart::Keeps(kept) if *kept == families);
            let wanted = matches!(standing.object.name, "f8-v4" | "go");
            ensure!(keeps == wanted, "{} of {node}: {seen:#?}", standing.object.name);
        }
    }
    Ok(())
}
