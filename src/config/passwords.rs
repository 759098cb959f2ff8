//! Passwords of FRRConfigurations that are in Secrets: put in their place before anything is merged.
//!
//! A neighbour whose Secret does not have the password keeps the one that it had, or is left with the reference, which
//! is no neighbour then; both are a problem of its object.

use super::{Kind, ObjectRef, Problems, peer::password_of};
use crate::{api, names::Password, world::Secret};
use std::{borrow::Cow, collections::BTreeMap};

/// Passwords by the Secret that they are from.
pub type Passwords = BTreeMap<String, Password>;

/// FRRConfigurations with their passwords.
#[derive(Debug)]
pub struct Resolved<'a> {
    /// The objects, by name.
    pub objects: Cow<'a, BTreeMap<String, api::FRRConfiguration>>,
    /// What is wrong with their references.
    pub problems: Problems,
    /// The passwords in use, by Secret: what stands where a Secret goes bad.
    pub passwords: Passwords,
}

/// `objects` with the passwords of `secrets`, or where there is none those of the `last` time.
#[must_use]
pub fn resolve<'a>(
    objects: &'a BTreeMap<String, api::FRRConfiguration>,
    secrets: &BTreeMap<String, Secret>,
    last: &Passwords,
) -> Resolved<'a> {
    let mut resolved = Resolved {
        objects: Cow::Borrowed(objects),
        problems: Problems::default(),
        passwords: Passwords::new(),
    };
    let refers = |object: &api::FRRConfiguration| {
        let mut neighbors = object.spec.bgp.routers.iter().flat_map(|router| &router.neighbors);
        neighbors.any(|neighbor| !neighbor.password_secret.name.is_empty())
    };
    if objects.values().any(refers) {
        let mut objects = objects.clone();
        for (name, object) in &mut objects {
            one(name, object, secrets, last, &mut resolved);
        }
        resolved.objects = Cow::Owned(objects);
    }
    resolved
}

fn one(
    name: &str,
    object: &mut api::FRRConfiguration,
    secrets: &BTreeMap<String, Secret>,
    last: &Passwords,
    resolved: &mut Resolved<'_>,
) {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    for (i, router) in object.spec.bgp.routers.iter_mut().enumerate() {
        for (j, neighbor) in router.neighbors.iter_mut().enumerate() {
            let secret = neighbor.password_secret.name.clone();
            if secret.is_empty() {
                continue;
            }
            let mut fault = |field: &str, what: &str| {
                let object = ObjectRef { kind: Kind::FRRConfiguration, name: name.to_owned() };
                resolved.problems.add(object, format!("spec.bgp.routers[{i}].neighbors[{j}].{field}"), what);
            };
            if !neighbor.password.is_empty() {
                fault("password", "password and passwordSecret cannot both be set");
                continue;
            }
            let found = password_of(&secret, secrets, &namespace);
            let password = found.or_else(|what| {
                fault("passwordSecret", what.trim_end());
                last.get(&secret).cloned().ok_or(())
            });
            if let Ok(password) = password {
                neighbor.password = password.as_str().to_owned();
                neighbor.password_secret = api::FRRSecretReference::default();
                resolved.passwords.insert(secret, password);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(neighbors: &str) -> BTreeMap<String, api::FRRConfiguration> {
        let text = format!(
            "apiVersion: frrk8s.metallb.io/v1beta1\nkind: FRRConfiguration\nmetadata: {{name: u, namespace: n}}\n\
             spec: {{bgp: {{routers: [{{asn: 1, neighbors: [{neighbors}]}}]}}}}"
        );
        [("u".to_owned(), serde_saphyr::from_str(&text).unwrap())].into()
    }

    fn told(resolved: &Resolved<'_>) -> Vec<String> {
        resolved.problems.iter().map(|p| format!("{}: {}", p.field, p.what)).collect()
    }

    fn passwords(resolved: &Resolved<'_>) -> Vec<(String, String)> {
        let neighbors = &resolved.objects["u"].spec.bgp.routers[0].neighbors;
        neighbors.iter().map(|n| (n.password.clone(), n.password_secret.name.clone())).collect()
    }

    /// A neighbour gets its password; one without a good Secret is not let through without it, and what worked stays.
    #[test]
    fn references_are_resolved_or_told() {
        let password = Password::new("hunter2").unwrap();
        let mut secrets: BTreeMap<String, Secret> = [
            ("good".to_owned(), Secret::Password(password)),
            ("tls".to_owned(), Secret::OtherType),
            ("empty".to_owned(), Secret::WithoutPassword),
        ]
        .into();
        let objects = object(
            "{asn: 2, address: 10.0.0.1, passwordSecret: {name: good, namespace: elsewhere}},
             {asn: 2, address: 10.0.0.2, passwordSecret: {name: gone}},
             {asn: 2, address: 10.0.0.3, passwordSecret: {name: tls}},
             {asn: 2, address: 10.0.0.4, passwordSecret: {name: empty}},
             {asn: 2, address: 10.0.0.5, password: x, passwordSecret: {name: good}},
             {asn: 2, address: 10.0.0.6, password: y}",
        );
        let resolved = resolve(&objects, &secrets, &Passwords::new());
        let at = "spec.bgp.routers[0].neighbors";
        let expected = [
            format!("{at}[1].passwordSecret: secret ref not found for peer config \"n\"/\"gone\""),
            format!(
                "{at}[2].passwordSecret: secret type mismatch on \"n\"/\"tls\", type \"kubernetes.io/basic-auth\" is expected"
            ),
            format!("{at}[3].passwordSecret: secret \"n\"/\"empty\" has no key \"password\""),
            format!("{at}[4].password: password and passwordSecret cannot both be set"),
        ];
        assert_eq!(told(&resolved), expected);
        let text = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
        assert_eq!(
            passwords(&resolved),
            [("hunter2", ""), ("", "gone"), ("", "tls"), ("", "empty"), ("x", "good"), ("y", "")].map(text)
        );
        let kept = resolved.passwords;
        secrets.remove("good");
        let resolved = resolve(&objects, &secrets, &kept);
        assert_eq!(told(&resolved).len(), 5);
        assert_eq!(passwords(&resolved)[0], text(("hunter2", "")));
    }
}
