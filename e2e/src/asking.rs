//! A client that never stops asking who has some addresses, so that the wire shows at any time who says so.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Result;

use crate::{
    fabric::{LAN, Segment},
    neighbour,
    netns::Net,
    raw::{Heard, Raw},
    wait,
};

/// Questions that go on until this is dropped.
#[derive(Debug)]
pub struct Asking {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asking {
    /// Asks for each of these addresses once in every `pause`, from the host of this number on the flat segment.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn start(from: &Net, host: u8, ips: &[IpAddr], pause: Duration) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, ips) = (Arc::clone(&stop), ips.to_vec());
        let own = (Segment::Lan.v4(host), Segment::Lan.v6(host));
        let thread = from.background(move || {
            let raw = Raw::open(LAN, Heard::Nothing)?;
            let questions: Vec<Vec<u8>> =
                ips.iter().map(|ip| neighbour::question(raw.mac(), own, *ip)).collect();
            while !stopped.load(Ordering::Relaxed) {
                for question in &questions {
                    raw.send(question)?;
                }
                wait::pass(pause);
            }
            Ok(())
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
