//! Which rights the product's accounts were granted, which they used, and which they missed.
//!
//! Granted is what the API server's RBAC objects say; used and missed is what its audit log says. So a right that is
//! left out of the manifest shows, and one that nothing needs shows too.

use std::{collections::BTreeSet, fmt, fs};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Cluster, SYSTEM};

/// One verb on one kind of object, for one account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// `controller` or `speaker`.
    pub account: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural, with the subresource where there is one: `services/status`.
    pub resource: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, …
    pub verb: String,
}

impl Right {
    /// A right of these words.
    #[must_use]
    pub fn new(account: &str, group: &str, resource: &str, verb: &str) -> Self {
        Self {
            account: account.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.account, self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the accounts of [`SYSTEM`] may do and did, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// By Roles and ClusterRoles.
    pub granted: BTreeSet<Right>,
    /// Requests that the API server allowed.
    pub used: BTreeSet<Right>,
    /// Requests that it refused for want of a right.
    pub missed: BTreeSet<Right>,
}

impl Rights {
    /// Those of one account.
    #[must_use]
    pub fn of(&self, account: &str) -> Self {
        let only = |rights: &BTreeSet<Right>| {
            rights.iter().filter(|right| right.account == account).cloned().collect()
        };
        Self { granted: only(&self.granted), used: only(&self.used), missed: only(&self.missed) }
    }

    /// Granted, and never used.
    #[must_use]
    pub fn idle(&self) -> BTreeSet<Right> {
        self.granted.difference(&self.used).cloned().collect()
    }
}

impl Cluster {
    /// Reads the RBAC objects and the audit log.
    ///
    /// # Errors
    /// When either cannot be read.
    pub fn rights(&self) -> Result<Rights> {
        let mut rights = Rights { granted: self.granted()?, ..Rights::default() };
        // the last line may be half written
        for event in self.audit_log()?.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(right) = asked(&event) else { continue };
            if is_allowed(&event) {
                rights.used.insert(right);
            } else {
                rights.missed.insert(right);
            }
        }
        Ok(rights)
    }

    /// Fails when an account of the product asked for something that it may not do.
    ///
    /// # Errors
    /// Then, naming each right that is missing.
    pub fn no_right_missing(&self) -> Result<()> {
        let missed = self.rights()?.missed;
        if !missed.is_empty() {
            bail!("the manifest grants too little: {missed:?}");
        }
        Ok(())
    }

    /// How often the API server refused this to an account, so far.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn refusals(&self, right: &Right) -> Result<usize> {
        let user = format!("\"system:serviceaccount:{SYSTEM}:{}\"", right.account);
        let log = self.audit_log()?;
        // most lines are others': only the few that matter are decoded
        let own = log.lines().filter(|line| line.contains(&user));
        let events = own.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let refused = |event: &Value| !is_allowed(event) && asked(event).as_ref() == Some(right);
        Ok(events.filter(refused).count())
    }

    fn audit_log(&self) -> Result<String> {
        let path = self.base.credentials.path("audit.log");
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    fn granted(&self) -> Result<BTreeSet<Right>> {
        let kubectl = self.kubectl();
        let mut granted = BTreeSet::new();
        for (bindings, roles) in [("clusterrolebindings", "clusterroles"), ("rolebindings", "roles")] {
            let bindings = kubectl.get(&["-n", SYSTEM, bindings])?;
            let roles = kubectl.get(&["-n", SYSTEM, roles])?;
            for binding in items(&bindings) {
                let role = text(binding, "/roleRef/name");
                let rules = items(&roles)
                    .filter(|candidate| text(candidate, "/metadata/name") == role)
                    .flat_map(|role| array(role, "/rules"));
                let accounts: Vec<&str> = array(binding, "/subjects")
                    .filter(|subject| text(subject, "/kind") == "ServiceAccount")
                    .filter(|subject| text(subject, "/namespace") == SYSTEM)
                    .map(|subject| text(subject, "/name"))
                    .collect();
                for rule in rules {
                    for account in &accounts {
                        granted.extend(expand(account, rule));
                    }
                }
            }
        }
        Ok(granted)
    }
}

fn expand(account: &str, rule: &Value) -> Vec<Right> {
    let words = |key| array(rule, key).filter_map(Value::as_str);
    let mut rights = Vec::new();
    for group in words("/apiGroups") {
        for resource in words("/resources") {
            rights.extend(words("/verbs").map(|verb| Right::new(account, group, resource, verb)));
        }
    }
    rights
}

fn is_allowed(event: &Value) -> bool {
    text(event, "/annotations/authorization.k8s.io~1decision") == "allow"
}

/// The right that a request needs; none for requests that are not about objects, such as discovery.
fn asked(event: &Value) -> Option<Right> {
    let account = text(event, "/user/username")
        .strip_prefix("system:serviceaccount:")?
        .strip_prefix(SYSTEM)?
        .strip_prefix(':')?;
    let object = event.get("objectRef")?;
    let resource = match text(object, "/subresource") {
        "" => text(object, "/resource").to_owned(),
        sub => format!("{}/{sub}", text(object, "/resource")),
    };
    Some(Right::new(account, text(object, "/apiGroup"), &resource, text(event, "/verb")))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    array(list, "/items")
}

fn array<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_needs_a_right() {
        let event = json!({
            "verb": "update",
            "user": {"username": "system:serviceaccount:metallb-system:controller"},
            "objectRef": {"resource": "services", "subresource": "status", "name": "web"},
        });
        assert_eq!(asked(&event), Some(Right::new("controller", "", "services/status", "update")));
        let discovery = json!({
            "verb": "get", "user": {"username": "system:serviceaccount:metallb-system:speaker"}
        });
        assert_eq!(asked(&discovery), None);
        let other = json!({
            "verb": "get",
            "user": {"username": "system:serviceaccount:metallb-system-2:speaker"},
            "objectRef": {"resource": "secrets"},
        });
        assert_eq!(asked(&other), None);
    }

    #[test]
    fn a_rule_is_a_product() {
        let rule = json!({"apiGroups": [""], "resources": ["nodes", "services"], "verbs": ["list", "watch"]});
        let rights: Vec<String> = expand("speaker", &rule).iter().map(ToString::to_string).collect();
        assert_eq!(
            rights,
            [
                "speaker: list nodes",
                "speaker: watch nodes",
                "speaker: list services",
                "speaker: watch services"
            ]
        );
    }
}
