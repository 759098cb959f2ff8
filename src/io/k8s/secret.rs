//! The Secret that the speakers' gossip is sealed with: the controller makes it, and a speaker finds it where its node
//! has not mounted it yet.
//!
//! One that is there stays as it is, whoever made it: a key that only some speakers had would part them. So it is made
//! only after the API server has said that there is none; and made again when it goes, as it does when the garbage
//! collector takes what belonged to a former Deployment of the same name.

use super::brief;
use anyhow::Context;
use futures_util::StreamExt;
use k8s_openapi::{
    ByteString,
    api::{apps::v1::Deployment, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, PostParams},
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use ring::rand::{SecureRandom, SystemRandom};
use std::{pin::pin, time::Duration};

/// Where the key is in the Secret, as in MetalLB's.
const ENTRY: &str = "secretkey";

/// Bytes of a new key: as many as AES-256 takes, and MetalLB uses.
const LENGTH: usize = 32;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// The most that one request may take; the client has no limit of its own.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where the Secret is.
#[derive(Clone)]
pub struct Place {
    /// The API.
    pub client: Client,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Place {
    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The key; `None` where there is no such Secret, or no key in it.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn find(&self) -> anyhow::Result<Option<Vec<u8>>> {
        // whoever may list them need not be allowed to get one
        let only = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let listed = answer(self.secrets().list(&only)).await;
        let found = listed.map_err(|fault| anyhow::anyhow!(brief(&fault)))?.items.pop();
        let key = found.and_then(|secret| secret.data?.remove(ENTRY));
        Ok(key.map(|ByteString(bytes)| bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Sees to it that there is one, which goes with the Deployment `owner`, for ever.
    ///
    /// # Errors
    /// When the watch ended by itself, which is a bug.
    pub async fn keep(self, owner: Option<String>) -> anyhow::Result<()> {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        // the controller has no need to know the key
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut events = pin!(watcher(api, only));
        let mut failing = false;
        // nothing is known before the first listing is over, and during another one
        let (mut listing, mut there) = (true, false);
        loop {
            let event = events.next().await.context("the watch of the gossip's Secret ended")?;
            // a list begins with an event of its own, before the API server was even asked
            failing &= matches!(event, Ok(Event::Init) | Err(_));
            match event {
                Ok(Event::Init) => (listing, there) = (true, false),
                Ok(Event::InitApply(_) | Event::Apply(_)) => there = true,
                Ok(Event::InitDone) => {
                    listing = false;
                    if there {
                        let (name, namespace) = (&self.name, &self.namespace);
                        tracing::info!(name, namespace, "the speakers' gossip has a key already");
                    }
                }
                Ok(Event::Delete(_)) => there = false,
                Err(fault) => {
                    self.fails(&mut failing, &Fault::of_watch(fault));
                    tokio::time::sleep(PAUSE).await;
                }
            }
            while !listing && !there {
                match self.make(owner.as_deref()).await {
                    Ok(()) => (there, failing) = (true, false),
                    Err(fault) => {
                        self.fails(&mut failing, &fault);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    async fn make(&self, owner: Option<&str>) -> Result<(), Fault> {
        let mut metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        if let Some(deployment) = owner {
            let found =
                self.owner(deployment).await.map_err(|why| Fault::of("get deployments.apps", &why))?;
            // we are being taken away, and nobody would ever take away what we make now
            let found = found.ok_or_else(|| Fault::Failed(format!("there is no Deployment {deployment}")))?;
            metadata.owner_references = Some(vec![found]);
        }
        let mut key = vec![0; LENGTH];
        SystemRandom::new().fill(&mut key).map_err(|_| Fault::Failed("no random numbers".to_owned()))?;
        let data = [(ENTRY.to_owned(), ByteString(key))].into();
        let secret = Secret { metadata, data: Some(data), ..Secret::default() };
        match answer(self.secrets().create(&PostParams::default(), &secret)).await {
            Ok(_) => {
                let (name, namespace) = (&self.name, &self.namespace);
                tracing::info!(name, namespace, "made a key for the speakers' gossip");
                Ok(())
            }
            // somebody was faster, and theirs is as good
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(why) => Err(Fault::of("create secrets", &why)),
        }
    }

    /// What the Secret goes with; `None` where there is no such Deployment.
    async fn owner(&self, deployment: &str) -> kube::Result<Option<OwnerReference>> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = answer(deployments.get_metadata_opt(deployment)).await?;
        let uid = found.and_then(|found| found.metadata.uid);
        Ok(uid.map(|uid| OwnerReference {
            api_version: Deployment::api_version(&()).into_owned(),
            kind: Deployment::kind(&()).into_owned(),
            name: deployment.to_owned(),
            uid,
            ..OwnerReference::default()
        }))
    }

    /// Once per outage.
    fn fails(&self, failing: &mut bool, fault: &Fault) {
        let name = &self.name;
        match fault {
            _ if std::mem::replace(failing, true) => {}
            Fault::Forbidden { right, fault } => tracing::error!(
                name,
                right,
                fault,
                "our ServiceAccount lacks a right that the Secret of the gossip takes: apply the RBAC of this version"
            ),
            Fault::Failed(fault) => {
                tracing::warn!(name, fault, "cannot see to the Secret of the speakers' gossip; trying again");
            }
        }
    }
}

/// Why there may be no Secret.
enum Fault {
    /// This right is missing.
    Forbidden {
        right: &'static str,
        fault: String,
    },
    Failed(String),
}

impl Fault {
    fn of(right: &'static str, why: &kube::Error) -> Self {
        match why {
            kube::Error::Api(status) if status.is_forbidden() => Self::Forbidden { right, fault: brief(why) },
            _ => Self::Failed(brief(why)),
        }
    }

    fn of_watch(fault: watcher::Error) -> Self {
        use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
        match fault {
            InitialListFailed(why) | WatchStartFailed(why) | WatchFailed(why) => {
                Self::of("list and watch secrets", &why)
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

/// What a request brings, or that it took too long.
async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = |_| kube::Error::Service("no answer".into());
    tokio::time::timeout(DEADLINE, request).await.map_err(late)?
}
