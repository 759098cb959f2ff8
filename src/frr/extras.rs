//! The ConfigMap `bgpextras`: MetalLB's way to add text to FRR's configuration, as one more object with raw text.

use crate::{
    api,
    config::{Kind, ObjectRef, Problems},
};
use kube::core::ObjectMeta;

/// What the object is called among users' FRRConfigurations: a name that none of those can have.
const NAME: &str = "ConfigMap bgpextras";

/// The text as an object beside users' FRRConfigurations. It comes after all of theirs, as it does in MetalLB.
#[must_use]
pub fn extras(text: &str) -> (String, api::FRRConfiguration) {
    let raw = api::FRRRaw { priority: i64::MAX, raw_config: text.to_owned() };
    let spec = api::FRRConfigurationSpec { raw, ..Default::default() };
    let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..Default::default() };
    (NAME.to_owned(), api::FRRConfiguration { metadata, spec, status: None })
}

/// `problems`, those of that object told of the ConfigMap.
#[must_use]
pub fn blame_extras(problems: Problems) -> Problems {
    let mut told = Problems::default();
    for problem in problems.iter() {
        if problem.object.kind == Kind::FRRConfiguration && problem.object.name == NAME {
            let object = ObjectRef { kind: Kind::ConfigMap, name: "bgpextras".to_owned() };
            told.add(object, "data.extras", &problem.what);
        } else {
            told.add(problem.object.clone(), &problem.field, &problem.what);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_map_is_an_object_of_raw_text_and_is_blamed_itself() {
        let (name, object) = extras("route-map x permit 20\n");
        assert_eq!(object.spec.raw.raw_config, "route-map x permit 20\n");
        let mut problems = Problems::default();
        problems.add(ObjectRef { kind: Kind::FRRConfiguration, name }, "spec.raw", "is odd");
        problems.add(ObjectRef { kind: Kind::FRRConfiguration, name: "a".into() }, "spec", "is odd");
        let told: Vec<String> = blame_extras(problems).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["FRRConfiguration a: spec: is odd", "ConfigMap bgpextras: data.extras: is odd"]);
    }
}
