//! The manifest grants what the product needs, all of it and nothing else, and whoever grants less learns from the
//! product what is missing.
//!
//! Both tests share one cluster ([`world`]). In one the product does once everything that it can do, as the manifest's
//! own accounts. In the other it loses one right at a time ([`table`]), as accounts that have all the others. A feature
//! that needs a new right extends the manifest, the doings of the first test and the table together.

mod manifest;
mod objects;
mod stage;
mod table;
mod whole;
mod world;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    stage::Stage,
    table::{Program, TABLE},
    world::world,
};

/// Held by whoever needs that no other controller runs, and by who has one that does everything.
pub(crate) static CONTROLLERS: Mutex<()> = Mutex::new(());

#[test]
fn without_any_one_right_something_is_gone() -> Result<()> {
    let granted: BTreeSet<_> = manifest::grants()?.into_iter().map(|grant| grant.right).collect();
    let rows: BTreeSet<_> = TABLE.iter().map(table::Row::right).collect();
    ensure!(rows.len() == TABLE.len(), "a right has two rows");
    let without_row: Vec<_> = granted.difference(&rows).collect();
    ensure!(without_row.is_empty(), "granted, and nobody says what for: {without_row:?}");
    let not_granted: Vec<_> = rows.difference(&granted).collect();
    ensure!(not_granted.is_empty(), "in the table, and not in the manifest: {not_granted:?}");

    let world = world()?;
    let failures = Mutex::new(Vec::new());
    let queue = |program| {
        let rows = TABLE.iter().zip(1..).filter(move |(row, _)| row.program == program && !row.is_alone());
        Mutex::new(rows.collect::<VecDeque<_>>())
    };
    let (controllers, speakers) = (queue(Program::Controller), queue(Program::Speaker));
    std::thread::scope(|scope| {
        for lane in &world.lanes {
            for queue in [&controllers, &speakers] {
                let failures = &failures;
                scope.spawn(move || {
                    while let Some((row, number)) = next(queue) {
                        let proven = Stage::new(world, lane, row, number).and_then(|stage| stage.prove());
                        let report = |error| format!("without `{}`: {error:#}", row.right());
                        lock(failures).extend(proven.err().map(report));
                    }
                });
            }
        }
    });
    // what all controllers say together is proven by one after the other
    let _alone = lock(&CONTROLLERS);
    let lane = world.lanes.first().context("no lane")?;
    for (row, number) in TABLE.iter().zip(1..).filter(|(row, _)| row.is_alone()) {
        let proven = Stage::new(world, lane, row, number).and_then(|stage| stage.prove());
        lock(&failures).extend(proven.err().map(|error| format!("without `{}`: {error:#}", row.right())));
    }
    let failures = lock(&failures);
    ensure!(
        failures.is_empty(),
        "{} of {} rows fail:\n{}",
        failures.len(),
        TABLE.len(),
        failures.join("\n\n")
    );
    Ok(())
}

fn next<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    lock(queue).pop_front()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
