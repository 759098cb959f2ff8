//! What fails while states are written: each thing that it is, said once until all is well again, and the pause after it.
//!
//! What comes on top is said too: of a CRD that somebody deletes under us, the API server first refuses what we write,
//! and only then says that there is no such kind.

use super::{Fault, RETRY, brief};
use kube::{api::ApiResource, runtime::watcher};
use std::{collections::BTreeSet, time::Duration};

/// What has failed since all was well.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    told: BTreeSet<Ill>,
    pause: Option<Duration>,
}

/// What can fail, as far as it is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ill {
    NoCrd,
    NotAllowedToWatch,
    NotWatched,
    NotAllowedToWrite,
    NotWritten,
}

impl Trouble {
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }

    /// The watch failed: what to say, and how long to leave it.
    pub(super) fn watch(&mut self, resource: &ApiResource, error: &watcher::Error) -> Duration {
        use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
        let crd = crd(resource);
        let fault = match error {
            InitialListFailed(fault) | WatchStartFailed(fault) | WatchFailed(fault) => fault,
            other => {
                tracing::debug!(crd, fault = %other, "states are not watched for a moment");
                return self.longer();
            }
        };
        match fault {
            kube::Error::Api(status) if status.is_not_found() || status.code == 404 => {
                if self.told.insert(Ill::NoCrd) {
                    tracing::info!(crd, "there is no such CRD, so none of these objects is written");
                }
            }
            kube::Error::Api(status) if status.is_forbidden() => {
                if self.told.insert(Ill::NotAllowedToWatch) {
                    let (right, fault) = (format!("list and watch {crd}"), brief(fault));
                    tracing::error!(
                        right,
                        fault,
                        "our ServiceAccount lacks a right: apply the RBAC of this version"
                    );
                }
            }
            fault => {
                if self.told.insert(Ill::NotWatched) {
                    tracing::warn!(crd, fault = brief(fault), "cannot watch our own objects, trying again");
                }
            }
        }
        self.longer()
    }

    /// The same of a request.
    pub(super) fn request(&mut self, resource: &ApiResource, fault: &Fault) -> Duration {
        let crd = crd(resource);
        match fault {
            // what the watch says about it is enough
            Fault::Gone | Fault::There => {}
            Fault::Forbidden(fault) => {
                if self.told.insert(Ill::NotAllowedToWrite) {
                    tracing::error!(
                        crd,
                        fault,
                        "may not write states: our ServiceAccount needs create, delete and patch on {crd} and their status"
                    );
                }
            }
            Fault::Failed(fault) => {
                if self.told.insert(Ill::NotWritten) {
                    tracing::warn!(crd, fault, "cannot write states, trying again");
                }
            }
        }
        self.longer()
    }

    fn longer(&mut self) -> Duration {
        let pause = self.pause.map_or(RETRY.0, |pause| (pause * 2).min(RETRY.1));
        self.pause = Some(pause);
        pause
    }
}

fn crd(resource: &ApiResource) -> String {
    format!("{}.{}", resource.plural, resource.group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{
        k8s::states::{Kind, ServiceL2},
        settings::LogLevel,
        telemetry::tests::lines,
    };
    use kube::core::Status;

    fn watch_says(code: u16, reason: &str) -> watcher::Error {
        watcher::Error::InitialListFailed(kube::Error::Api(
            Status::failure("no", reason).with_code(code).boxed(),
        ))
    }

    #[test]
    fn each_trouble_is_told_once_until_all_is_well() {
        let resource = ServiceL2::resource();
        let mut trouble = Trouble::default();
        let said = |trouble: &mut Trouble, fail: &dyn Fn(&mut Trouble)| {
            let lines = lines(LogLevel::Info, || fail(trouble));
            lines.iter().map(|line| line["msg"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let deleted = |trouble: &mut Trouble| {
            for _ in 0..2 {
                // a CRD goes: what we write is refused while it does, then there is none
                trouble.request(&resource, &Fault::Forbidden("it is terminating".to_owned()));
                trouble.request(&resource, &Fault::Gone);
                trouble.watch(&resource, &watch_says(404, "NotFound"));
            }
        };
        let both = [
            "may not write states: our ServiceAccount needs create, delete and patch on servicel2statuses.metallb.io \
             and their status",
            "there is no such CRD, so none of these objects is written",
        ];
        assert_eq!(said(&mut trouble, &deleted), both);
        assert_eq!(said(&mut trouble, &deleted), [""; 0]);
        let other = |trouble: &mut Trouble| {
            trouble.watch(&resource, &watch_says(403, "Forbidden"));
            trouble.watch(&resource, &watch_says(500, "InternalError"));
            trouble.request(&resource, &Fault::Failed("no answer".to_owned()));
        };
        assert_eq!(said(&mut trouble, &other).len(), 3);
        trouble.over();
        assert_eq!(said(&mut trouble, &deleted), both, "it is new again");
    }

    #[test]
    fn pauses_grow_until_all_is_well() {
        let mut trouble = Trouble::default();
        let fails = |trouble: &mut Trouble| trouble.request(&ServiceL2::resource(), &Fault::Gone).as_secs();
        assert_eq!([(); 7].map(|()| fails(&mut trouble)), [1, 2, 4, 8, 16, 30, 30]);
        trouble.over();
        assert_eq!(fails(&mut trouble), 1);
    }
}
