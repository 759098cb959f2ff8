//! `excludel2.yaml`: the interfaces that layer 2 leaves alone, those of containers and tunnels above all.
//!
//! Read once, at the start: MetalLB's ConfigMap `metallb-excludel2` is mounted there. An interface whose name matches
//! any of the expressions, anywhere in it, is as good as absent. Nothing here looks at interfaces.

use anyhow::Context as _;
use regex::RegexSet;
use serde::Deserialize;
use std::{fs, io, path::Path};

/// The interfaces to leave alone, by their names; by default none.
#[derive(Clone, Debug, Default)]
pub struct Excluded(RegexSet);

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    announced_interfaces_to_exclude: Option<Vec<String>>,
}

impl Excluded {
    /// Those of the file at `path`; none if there is no such file, or nothing in it.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what it should be: announcing where nobody wants it would do harm.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(fault) => return Err(fault).context(format!("read {}", path.display())),
        };
        Self::parse(&text).with_context(|| format!("{}: interfaces to leave alone", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let file = match text.trim() {
            "" => File::default(),
            text => serde_saphyr::from_str(text).context("not as it should be")?,
        };
        let set = RegexSet::new(file.announced_interfaces_to_exclude.unwrap_or_default());
        Ok(Self(set.context("announcedInterfacesToExclude has an expression that is none")?))
    }

    /// Whether the interface `name` is left alone.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_expression_matches_anywhere() {
        let excluded =
            Excluded::parse("announcedInterfacesToExclude: [\"^docker.*\", \"^lo$\", 'x\\d']").unwrap();
        for (name, left_alone) in [
            ("docker0", true),
            ("lo", true),
            ("lo0", false),
            ("eth0", false),
            ("boxx7", true),
            ("box", false),
        ] {
            assert_eq!(excluded.has(name), left_alone, "{name}");
        }
        for nothing in ["", "\n", "announcedInterfacesToExclude:\n", "announcedInterfacesToExclude: []", "{}"]
        {
            assert!(!Excluded::parse(nothing).unwrap().has("eth0"), "{nothing:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("excludel2.yaml");
        assert!(!Excluded::read(&path).unwrap().has("docker0"), "no file, none left alone");
        for (text, says) in [
            ("announcedInterfacesToExclude: [\"(\"]", "unclosed group"),
            ("announcedInterfacesToExclude: {", "not as it should be"),
            ("interfaces: [eth0]", "unknown field"),
        ] {
            fs::write(&path, text).unwrap();
            let fault = format!("{:#}", Excluded::read(&path).unwrap_err());
            assert!(fault.contains(says) && fault.contains("excludel2.yaml"), "{fault}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(Excluded::read(&path).is_err(), "a file that cannot be read is not a missing one");
    }
}
