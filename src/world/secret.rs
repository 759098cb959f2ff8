//! What is known of a Secret: whether it is of the type that passwords have, and then that one password.

use crate::names::Password;
use k8s_openapi::ByteString;
use serde_json::Value;

/// The facts of a Secret. Of one that is not for passwords nothing is kept but that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The password of one of type `kubernetes.io/basic-auth`.
    Password(Password),
    /// Of that type, but its password cannot go into `frr.conf`.
    Unfit,
    /// Of that type, but without the key `password`.
    WithoutPassword,
    /// Of another type.
    OtherType,
}

impl Secret {
    /// The type that a Secret with a password must have.
    pub const TYPE: &'static str = "kubernetes.io/basic-auth";
    /// The key of the password.
    pub const KEY: &'static str = "password";

    /// The name and the facts of `secret`. Read by hand, so that no complaint about a field quotes it.
    #[must_use]
    pub fn observe(secret: &Value) -> (String, Self) {
        let text = |path: &str| secret.pointer(path).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or_default().to_owned();
        if text("/type") != Some(Self::TYPE) {
            return (name, Self::OtherType);
        }
        let value =
            |of: &str| secret.get(of).and_then(|of| of.get(Self::KEY)).filter(|value| !value.is_null());
        // as the API server would merge it: what is written as text wins
        let facts = match (value("stringData"), value("data")) {
            (Some(text), _) => password(text.as_str().map(str::to_owned)),
            (None, Some(base64)) => {
                let bytes = serde_json::from_value::<ByteString>(base64.clone()).ok();
                password(bytes.and_then(|bytes| String::from_utf8(bytes.0).ok()))
            }
            (None, None) => Self::WithoutPassword,
        };
        (name, facts)
    }

    /// `secret` without what [`Secret::observe`] does not need: for whoever keeps manifests in memory.
    pub fn strip(secret: &mut Value) {
        let typed = secret.get("type").and_then(Value::as_str) == Some(Self::TYPE);
        let Some(fields) = secret.as_object_mut() else { return };
        fields.retain(|field, _| {
            matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "type" | "immutable")
                || (typed && matches!(field.as_str(), "data" | "stringData"))
        });
        for of in ["data", "stringData"] {
            if let Some(data) = fields.get_mut(of).and_then(Value::as_object_mut) {
                data.retain(|key, _| key == Self::KEY);
            }
        }
        if let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            // `kubectl apply` leaves a copy of the whole there
            meta.remove("annotations");
        }
    }
}

fn password(text: Option<String>) -> Secret {
    text.and_then(|text| Password::new(&text).ok()).map_or(Secret::Unfit, Secret::Password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_password_of_the_right_type_is_kept() {
        let hunter2 = || Secret::Password(Password::new("hunter2").unwrap());
        for (secret, facts) in [
            (json!({"type": "kubernetes.io/basic-auth", "data": {"password": "aHVudGVyMg=="}}), hunter2()),
            (json!({"type": "kubernetes.io/basic-auth", "stringData": {"password": "hunter2"}}), hunter2()),
            (
                json!({"type": "kubernetes.io/basic-auth", "data": {"password": "eA=="}, "stringData": {"password": "hunter2"}}),
                hunter2(),
            ),
            (json!({"type": "Opaque", "data": {"password": "aHVudGVyMg=="}}), Secret::OtherType),
            (json!({"data": {"password": "aHVudGVyMg=="}}), Secret::OtherType),
            (
                json!({"type": "kubernetes.io/basic-auth", "data": {"username": "eA=="}}),
                Secret::WithoutPassword,
            ),
            (json!({"type": "kubernetes.io/basic-auth"}), Secret::WithoutPassword),
            // "hunter2\n", as `echo hunter2 | base64` makes it
            (
                json!({"type": "kubernetes.io/basic-auth", "data": {"password": "aHVudGVyMgo="}}),
                Secret::Unfit,
            ),
            (json!({"type": "kubernetes.io/basic-auth", "data": {"password": ""}}), Secret::Unfit),
            (json!({"type": "kubernetes.io/basic-auth", "data": {"password": "/w=="}}), Secret::Unfit),
            (json!({"type": "kubernetes.io/basic-auth", "data": {"password": "*"}}), Secret::Unfit),
            (json!({"type": "kubernetes.io/basic-auth", "data": {"password": 7}}), Secret::Unfit),
        ] {
            assert_eq!(Secret::observe(&secret).1, facts, "{secret}");
            let mut stripped = secret.clone();
            Secret::strip(&mut stripped);
            assert_eq!(Secret::observe(&stripped).1, facts, "{stripped}");
        }
        assert!(!format!("{:?}", hunter2()).contains("hunter2"));
    }

    #[test]
    fn nothing_else_of_a_secret_is_kept() {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "data": {"username": "eA==", "password": "eQ=="}});
        Secret::strip(&mut secret);
        assert_eq!(
            secret,
            json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {"name": "s"}, "data": {"password": "eQ=="}})
        );
        let mut other = json!({"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": {"tls.key": "eA=="},
            "stringData": {"password": "x"}});
        Secret::strip(&mut other);
        assert_eq!(other, json!({"metadata": {"name": "s"}, "type": "kubernetes.io/tls"}));
    }
}
