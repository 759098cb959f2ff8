//! What the manifest grants, right by right, and a role that lacks one of them.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    bins,
    cluster::{Right, SYSTEM},
};
use serde_json::{Value, json};

use crate::objects;

/// One verb on one kind of object, with the rule that grants just that.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) right: Right,
    /// By a ClusterRole, not by a Role of [`SYSTEM`].
    everywhere: bool,
    rule: Value,
}

/// Everything that `manifests/ferrolb.yaml` grants to its ServiceAccounts.
pub(crate) fn grants() -> Result<Vec<Grant>> {
    let text = fs::read_to_string(bins::checkout()?.join("manifests/ferrolb.yaml"))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).context("decode the manifest")?;
    let mut grants: Vec<Grant> = Vec::new();
    for binding in objects.iter().filter(|object| word(object, "/kind").ends_with("RoleBinding")) {
        let (kind, name) = (word(binding, "/roleRef/kind"), word(binding, "/roleRef/name"));
        let role = objects
            .iter()
            .find(|object| word(object, "/kind") == kind && word(object, "/metadata/name") == name)
            .with_context(|| format!("the manifest has no {kind} {name}"))?;
        for subject in list(binding, "/subjects") {
            ensure!(word(subject, "/kind") == "ServiceAccount", "{name} is bound to more than an account");
            for rule in list(role, "/rules") {
                let new =
                    expand(word(subject, "/name"), word(binding, "/kind") == "ClusterRoleBinding", rule);
                let twice = new.iter().find(|new| grants.iter().any(|old| old.right == new.right));
                ensure!(twice.is_none(), "granted twice: {twice:?}");
                grants.extend(new);
            }
        }
    }
    Ok(grants)
}

/// The role of account `id`: what the manifest grants to `of`, but for `without`.
pub(crate) fn role(id: &str, of: &str, without: Option<&Right>) -> Result<Vec<Value>> {
    let grants: Vec<Grant> = grants()?.into_iter().filter(|grant| grant.right.account == of).collect();
    let rules = |everywhere| -> Vec<Value> {
        let kept = grants.iter().filter(|grant| grant.everywhere == everywhere);
        kept.filter(|grant| Some(&grant.right) != without).map(|grant| grant.rule.clone()).collect()
    };
    let api = "rbac.authorization.k8s.io/v1";
    let here = json!({"name": id, "namespace": SYSTEM});
    Ok(vec![
        json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": id}, "rules": rules(true)}),
        json!({"apiVersion": api, "kind": "Role", "metadata": here, "rules": rules(false)}),
    ])
}

/// The account `id` itself, with that role.
pub(crate) fn account(id: &str) -> Vec<Value> {
    let group = "rbac.authorization.k8s.io";
    let subject = json!([{"kind": "ServiceAccount", "name": id, "namespace": SYSTEM}]);
    let binding = |kind: &str, role: &str| {
        json!({
            "apiVersion": format!("{group}/v1"), "kind": kind,
            "metadata": {"name": id, "namespace": SYSTEM},
            "roleRef": {"apiGroup": group, "kind": role, "name": id},
            "subjects": subject,
        })
    };
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": id, "namespace": SYSTEM}}),
        binding("ClusterRoleBinding", "ClusterRole"),
        binding("RoleBinding", "Role"),
    ]
}

/// The rights of one rule.
pub(crate) fn expand(account: &str, everywhere: bool, rule: &Value) -> Vec<Grant> {
    let words = |key| list(rule, key).filter_map(Value::as_str);
    let mut grants = Vec::new();
    for group in words("/apiGroups") {
        for resource in words("/resources") {
            for verb in words("/verbs") {
                // what else the rule says, such as resourceNames, stays
                let mut rule = rule.clone();
                for (key, one) in [("apiGroups", group), ("resources", resource), ("verbs", verb)] {
                    objects::set(&mut rule, key, json!([one]));
                }
                grants.push(Grant { right: Right::new(account, group, resource, verb), everywhere, rule });
            }
        }
    }
    grants
}

/// The members of a list; none where there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn word<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
