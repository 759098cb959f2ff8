//! What a user of the cluster runs on it: Pods that answer, Services in front of them, and a look at what goes wrong.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Installation, images};
use crate::{
    cluster::{PATIENCE, SYSTEM},
    netns::Net,
    objects, pod, wait,
};

impl Installation {
    /// Runs a Pod with the label `app=<app>` on every node, each of which answers as [`pod::fetch`] expects, and waits
    /// until all are Ready.
    ///
    /// # Errors
    /// When they do not become Ready.
    pub fn serve(&self, app: &str) -> Result<Vec<Value>> {
        self.serve_within(PATIENCE, app)
    }

    /// The same with a limit of its own.
    ///
    /// # Errors
    /// As [`Installation::serve`].
    pub(super) fn serve_within(&self, patience: Duration, app: &str) -> Result<Vec<Value>> {
        self.cluster.kubectl().apply(&json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": app, "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"app": app}},
                "template": {
                    "metadata": {"labels": {"app": app}},
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{
                            "name": "web", "image": images::POD, "args": ["serve", "$(NODE)", pod::PORT.to_string()],
                            "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                            "readinessProbe": {"httpGet": {"path": "/", "port": pod::PORT}, "periodSeconds": 1},
                            "securityContext": {
                                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
                            },
                        }],
                    },
                },
            },
        }))?;
        self.wait_longer_for_pods(patience, "default", &format!("app={app}"), self.machines.len())
    }

    /// Gives the product the lab's two pools, its peers and an advertisement of each kind.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn configure(&self) -> Result<()> {
        let objects = [objects::pools(), objects::peers(), objects::advertisements()];
        self.cluster.kubectl().apply(&objects.join("---\n")).map(drop)
    }

    /// Waits until a Service answers a client at this address, and gives the node whose Pod it was.
    ///
    /// # Errors
    /// When it does not; the message holds what the product said.
    pub fn wait_for_answer(&self, client: &Net, ip: IpAddr) -> Result<String> {
        self.wait_longer_for_answer(PATIENCE, client, ip)
    }

    /// The same with a limit of its own.
    ///
    /// # Errors
    /// As [`Installation::wait_for_answer`].
    pub(super) fn wait_longer_for_answer(
        &self,
        patience: Duration,
        client: &Net,
        ip: IpAddr,
    ) -> Result<String> {
        let what = format!("{ip} to answer {}", client.role());
        let answer = wait::until(patience, &what, || pod::fetch(client, ip, objects::PORT).map(Some));
        answer.map(|(node, _)| node).with_context(|| self.report())
    }

    /// Puts a Service of type LoadBalancer, both families, with addresses of a pool, in front of the Pods of an app.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn publish(&self, service: &str, app: &str, pool: &str) -> Result<()> {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": service, "namespace": "default", "annotations": {"metallb.io/address-pool": pool},
            },
            "spec": {
                "type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack", "selector": {"app": app},
                "ports": [{"port": objects::PORT, "targetPort": pod::PORT}],
            },
        });
        self.cluster.kubectl().apply(&object).map(drop)
    }

    /// Waits until a Service has an address of each family, and gives them.
    ///
    /// # Errors
    /// When it does not get them; the message holds what the product said.
    pub fn addresses(&self, service: &str) -> Result<Vec<IpAddr>> {
        let found = wait::until(PATIENCE, &format!("two addresses of {service}"), || {
            let object = self.cluster.kubectl().get(&["-n", "default", "service", service])?;
            let ingress = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
            let ips =
                ingress.into_iter().flatten().filter_map(|entry| entry.get("ip").and_then(Value::as_str));
            let ips = ips.map(str::parse).collect::<Result<Vec<IpAddr>, _>>()?;
            Ok((ips.len() == 2).then_some(ips))
        });
        found.with_context(|| self.report())
    }

    /// What there is to see of the product when something did not happen: its Pods and the ends of their logs.
    #[must_use]
    pub fn report(&self) -> String {
        let kubectl = self.cluster.kubectl();
        let looks: [&[&str]; 4] = [
            &["-n", SYSTEM, "get", "pods", "-o", "wide"],
            &["-n", SYSTEM, "get", "events"],
            &[
                "-n",
                SYSTEM,
                "logs",
                "-l",
                "component=controller",
                "--all-containers",
                "--prefix",
                "--tail=20",
            ],
            &["-n", SYSTEM, "logs", "-l", "component=speaker", "--all-containers", "--prefix", "--tail=20"],
        ];
        looks.map(|look| kubectl.run(look).unwrap_or_else(|error| format!("{error:#}"))).join("\n")
    }
}
