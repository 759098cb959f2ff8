//! The images are what users were promised: small, one program without a shell, a user that is not root, and labels that
//! say where they are from; and the ones for a look around are more than that.
//!
//! Read from the archives that `e2e/images/build.sh` leaves, which nothing here builds: what is missing is an error.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ferrolb_e2e::{bins, netns::Net, process::Spawn, warden::Warden};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);

/// The most that an image with one program may take, not packed.
const SMALL: u64 = 20_000_000;

/// An archive, opened.
struct Image {
    size: u64,
    config: Value,
    /// What `tar` says of each file: mode, owner, size, time, name.
    files: Vec<String>,
    layers: Vec<PathBuf>,
    _dir: tempfile::TempDir,
}

impl Image {
    /// The newest of this name.
    fn open(name: &str) -> Result<Self> {
        let archive = archive(name)?;
        let dir = tempfile::tempdir()?;
        Spawn::new("tar").arg("-xf").arg(&archive).arg("-C").arg(dir.path()).text()?;
        let read = |file: &str| -> Result<Value> {
            Ok(serde_json::from_str(&fs::read_to_string(dir.path().join(file))?)?)
        };
        let manifest = read("manifest.json")?;
        let config = manifest.pointer("/0/Config").and_then(Value::as_str).context("no configuration")?;
        let config = read(config)?.get("config").cloned().unwrap_or_default();
        let layers = manifest.pointer("/0/Layers").and_then(Value::as_array).context("no layers")?;
        let layers: Vec<PathBuf> =
            layers.iter().filter_map(Value::as_str).map(|layer| dir.path().join(layer)).collect();
        let mut files = Vec::new();
        for layer in &layers {
            let text = Spawn::new("tar").arg("-tvf").arg(layer).text()?;
            files.extend(text.lines().map(str::to_owned));
        }
        Ok(Self { size: fs::metadata(archive)?.len(), config, files, layers, _dir: dir })
    }

    fn label(&self, name: &str) -> &str {
        let label = format!("/Labels/org.opencontainers.image.{name}");
        self.config.pointer(&label).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether a layer brings this file.
    fn has(&self, path: &str) -> bool {
        // a link has its aim behind its name
        let names = self.files.iter().filter_map(|line| line.split_whitespace().nth(5));
        names.into_iter().any(|name| name.trim_start_matches("./").trim_end_matches('/') == path)
    }

    /// The program that a layer brings, as it is there: with its capabilities.
    fn program(&self, name: &str, to: &Path) -> Result<PathBuf> {
        for layer in &self.layers {
            let tar = Spawn::new("tar").args(["--xattrs", "--xattrs-include=*", "-xf"]).arg(layer);
            tar.arg("-C").arg(to).arg(name).output()?;
        }
        let program = to.join(name);
        ensure!(program.is_file(), "no layer has {name}: {:?}", self.files);
        Ok(program)
    }
}

fn archive(name: &str) -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("FERROLB_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("ferrolb")))
        .or_else(|| Some(set("HOME")?.join(".cache/ferrolb")))
        .context("HOME is not set")?;
    let dir = cache.join("images/archives");
    let begin = format!("{}-", name.replace(['/', ':'], "-"));
    // behind it only the digest of the content
    let is = |file: &str| file.strip_prefix(&begin).is_some_and(|rest| !rest.contains('-'));
    let files: Vec<PathBuf> =
        fs::read_dir(&dir).map(|files| files.flatten().map(|file| file.path()).collect()).unwrap_or_default();
    let found =
        files.into_iter().find(|file| file.file_name().is_some_and(|name| is(&name.to_string_lossy())));
    found.with_context(|| format!("{} has no archive of {name}: run e2e/images/build.sh", dir.display()))
}

fn product(component: &str) -> Result<Image> {
    Image::open(&format!("docker.io/ferrolb/{component}:v{}", env!("CARGO_PKG_VERSION")))
}

const PROGRAMS: [(&str, &str); 2] = [("controller", "65532:65532"), ("speaker", "1000:1000")];

#[test]
fn a_program_has_an_image_of_its_own_with_nothing_beside_it() -> Result<()> {
    for (name, user) in PROGRAMS {
        let image = product(name)?;
        ensure!(image.size < SMALL, "{name} is too big: {} bytes", image.size);
        ensure!(image.files.len() == 1 && image.has(name), "{name} is not alone: {:?}", image.files);
        assert_eq!(image.config["User"], user, "a number, since a cluster has to see that it is not root's");
        assert_eq!(image.config["Entrypoint"], serde_json::json!([format!("/{name}")]));
        ensure!(image.config["Cmd"].is_null(), "{name}: {}", image.config);
    }
    Ok(())
}

#[test]
fn every_image_says_what_it_is_and_where_from() -> Result<()> {
    for (name, licenses) in
        [("controller", "Apache-2.0"), ("speaker", "Apache-2.0"), ("frr", "GPL-2.0-or-later")]
    {
        named(name, &product(name)?, licenses)?;
    }
    for (name, licenses) in [("controller", "Apache-2.0"), ("speaker", "Apache-2.0 AND GPL-2.0-or-later")] {
        named(name, &debug(name)?, licenses)?;
    }
    Ok(())
}

fn named(name: &str, image: &Image, licenses: &str) -> Result<()> {
    assert_eq!(image.label("licenses"), licenses, "{name}");
    assert_eq!(image.label("version"), env!("CARGO_PKG_VERSION"), "{name}");
    for label in ["title", "description", "source", "revision"] {
        let text = image.label(label);
        ensure!(!text.is_empty() && text != "unknown", "{name}: the label {label} is {text:?}");
    }
    Ok(())
}

#[test]
fn the_programs_tell_their_commit_and_their_health() -> Result<()> {
    let warden = Warden::start()?;
    let net = Net::create(&warden, "box")?;
    for (name, _) in PROGRAMS {
        let image = product(name)?;
        let dir = warden.make_dir(name)?;
        let program = image.program(name, &dir)?;
        let version = Spawn::new(&program).arg("--version").text()?;
        let wanted = format!("{} ({})", env!("CARGO_PKG_VERSION"), image.label("revision"));
        ensure!(version.trim().ends_with(&wanted), "{version:?} does not say {wanted:?}");

        let check = || {
            let ask = Spawn::new(&program).args(["--health-check", "--health-probe-port=17999"]);
            ask.in_net(net.path()).output()
        };
        let nobody = check()?;
        let text = String::from_utf8_lossy(&nobody.stderr);
        ensure!(nobody.status.code() == Some(1) && text.starts_with("unhealthy: "), "{nobody:?}");
        let manifests = dir.join("manifests");
        fs::create_dir(&manifests)?;
        let mut start = Spawn::new(&program).in_net(net.path()).log(dir.join("log"));
        start = start.args(["--port=17998", "--health-probe-port=17999", "--manifests"]).arg(&manifests);
        if name == "speaker" {
            start = start.args(["--node-name=box", "--frr-vty-dir="]);
        }
        let running = start.start(&warden)?;
        running.wait_for(DEADLINE, "its own health check to succeed", || {
            let answer = check()?;
            ensure!(answer.status.success(), "{answer:?}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}

/// Permitted, not effective: where a Pod does not get the capability, the program starts all the same.
#[test]
fn the_speaker_may_open_raw_sockets_and_the_controller_may_do_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (name, capabilities) in [("controller", ""), ("speaker", "cap_net_raw=p")] {
        let program = product(name)?.program(name, dir.path())?;
        let text = Spawn::new(bins::tool("getcap")?).arg(&program).text()?;
        let has = text.trim().strip_prefix(&*program.to_string_lossy()).unwrap_or_default();
        assert_eq!(has.trim(), capabilities, "{name}");
        let mode = fs::metadata(&program)?.permissions().mode() & 0o7777;
        assert_eq!(mode, 0o755, "{name}");
    }
    Ok(())
}

#[test]
fn the_images_for_a_look_around_have_a_shell() -> Result<()> {
    for (name, user) in PROGRAMS {
        let image = debug(name)?;
        assert_eq!(image.config["User"], user);
        let mut wanted = vec![name, "usr/bin/tcpdump", "usr/bin/curl", "usr/bin/dash"];
        if name == "speaker" {
            wanted.extend(["usr/bin/vtysh", "usr/lib/frr/bgpd"]);
        }
        for path in wanted {
            // before /usr was merged, the shell's place was /bin
            let old = path.trim_start_matches("usr/");
            if !image.has(path) && !image.has(old) {
                bail!("{name}: no layer of the image for a look around has {path}");
            }
        }
    }
    Ok(())
}

fn debug(component: &str) -> Result<Image> {
    Image::open(&format!("ferrolb.test/{component}-debug:1"))
}
