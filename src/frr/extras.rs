//! The ConfigMap `bgpextras`: MetalLB's way to add text to FRR's configuration, after that of users' objects.

use crate::config::{Kind, ObjectRef, Problems};

/// What it is called among users' FRRConfigurations: a name that none of those can have.
pub const EXTRAS: &str = "ConfigMap bgpextras";

/// `object`, or the ConfigMap where that is meant.
#[must_use]
pub fn or_extras(object: ObjectRef) -> ObjectRef {
    if object.kind == Kind::FRRConfiguration && object.name == EXTRAS {
        ObjectRef { kind: Kind::ConfigMap, name: "bgpextras".to_owned() }
    } else {
        object
    }
}

/// `problems`, with the ConfigMap's told of itself.
#[must_use]
pub fn blame_extras(problems: &Problems) -> Problems {
    let mut told = Problems::default();
    for problem in problems.iter() {
        let object = or_extras(problem.object.clone());
        let field = if object == problem.object { &problem.field } else { "data.extras" };
        told.add(object, field, &problem.what);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_map_is_blamed_itself() {
        let mut problems = Problems::default();
        for name in [EXTRAS, "a"] {
            problems.add(ObjectRef { kind: Kind::FRRConfiguration, name: name.into() }, "spec", "is odd");
        }
        let told: Vec<String> = blame_extras(&problems).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["FRRConfiguration a: spec: is odd", "ConfigMap bgpextras: data.extras: is odd"]);
    }
}
