//! `manifests/ferrolb.yaml` and `manifests/ferrolb-l2.yaml` are what kustomize makes of `manifests/overlays`, of this
//! version; this fails when they are stale.
//!
//! `make manifests` renews them.

use std::fs;

use anyhow::{Context as _, Result, bail};
use ferrolb_e2e::{bins, cluster::kustomize};

const OVERLAYS: [(&str, &str); 2] = [("frr", "ferrolb.yaml"), ("l2", "ferrolb-l2.yaml")];

#[test]
fn the_manifests_are_made_of_their_overlays() -> Result<()> {
    let manifests = bins::checkout()?.join("manifests");
    for (overlay, file) in OVERLAYS {
        let path = manifests.join(file);
        let header =
            format!("# Made of manifests/overlays/{overlay}: edit there, then `make manifests`.\n---\n");
        let made = header + &kustomize(&manifests.join("overlays").join(overlay))?;
        for image in
            made.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image: "))
        {
            if !image.ends_with(concat!(":v", env!("CARGO_PKG_VERSION"))) {
                bail!("{image} is not of this version: set newTag in manifests/base and manifests/overlays");
            }
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, made).with_context(|| format!("write {}", path.display()))?;
        } else if fs::read_to_string(&path).unwrap_or_default() != made {
            bail!("manifests/{file} is stale; renew it with `make manifests`");
        }
    }
    Ok(())
}
