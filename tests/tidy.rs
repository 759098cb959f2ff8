//! The architecture, as a test: which room may use which, where the outside world begins, and the house rules.
//!
//! A room is a top-level module of the crate. Rooms are listed in the order data flows; a room may use the rooms named
//! beside it and nothing else. `io` and `run` alone may touch the world.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// (room, rooms it may use). Reading order is flow order.
const ROOMS: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("net", &["names"]),
    ("api", &["names", "net"]),
    ("world", &["names", "net", "api"]),
    ("config", &["names", "net", "api", "world"]),
    ("alloc", &["names", "net", "world", "config"]),
    ("plan", &["names", "net", "world", "config"]),
    ("frr", &["names", "net", "api", "config", "plan"]),
    ("l2", &["names", "net"]),
    ("io", &["names", "net", "api", "world", "config", "alloc", "plan", "frr", "l2"]),
    ("run", &["names", "net", "api", "world", "config", "alloc", "plan", "frr", "l2", "io"]),
];

/// What a pure room never says.
const WORLDLY: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "kube::Client",
    "kube::Api",
    "kube::runtime",
    "std::fs",
    "std::process",
    "std::env",
    "std::net::Udp",
    "std::net::Tcp",
    "socket2",
    "rtnetlink",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "thread::",
    "println!",
    "unsafe ",
    "unsafe{",
    "tracing::",
    "static mut",
    "Mutex",
    "RwLock",
];

/// Names that say nothing about what a thing is.
const EMPTY_NAMES: &[&str] = &["Manager", "Handler", "Helper", "Util"];

/// Lines of code in a file.
const MAX_LINES: usize = 600;

/// Lines of `ARCHITECTURE.md`.
const MAX_ARCHITECTURE: usize = 200;

/// The files that may hold `unsafe`.
const UNSAFE_FILES: [&str; 2] = ["src/io/memory.rs", "src/io/socket.rs"];

#[test]
fn every_module_is_in_a_room() {
    let lib = read(&root().join("src/lib.rs"));
    let modules: Vec<&str> =
        lib.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    for module in &modules {
        assert!(ROOMS.iter().any(|(room, _)| room == module), "module `{module}` is no room of the table");
    }
    for (room, _) in ROOMS {
        assert!(modules.contains(room), "room `{room}` does not exist");
        assert!(!files_of(room).is_empty(), "room `{room}` has no file");
    }
}

#[test]
fn rooms_use_only_what_they_may() {
    let mut faults = Vec::new();
    for (room, allowed) in ROOMS {
        for file in files_of(room) {
            let text = read(&file);
            for (n, line) in code_lines(&text) {
                for (other, _) in ROOMS {
                    if other != room && !allowed.contains(other) && mentions(line, other) {
                        faults.push(format!("{}:{n}: `{room}` may not use `{other}`", file.display()));
                    }
                }
                if !matches!(*room, "io" | "run") {
                    for word in WORLDLY.iter().filter(|w| line.contains(**w)) {
                        faults.push(format!("{}:{n}: `{room}` is pure, but says `{word}`", file.display()));
                    }
                }
                let reads_core = line.contains("k8s_openapi::api::");
                if reads_core && !matches!(*room, "world" | "io") {
                    faults.push(format!("{}:{n}: only `world` reads the core types", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn files_are_short_documented_and_named() {
    let mut faults = Vec::new();
    for file in sources(&root().join("src")).into_iter().chain(sources(&root().join("e2e"))) {
        let text = read(&file);
        let name = file.strip_prefix(root()).unwrap_or(&file).display().to_string();
        let code: Vec<(usize, &str)> = code_lines(&text).collect();
        if code.len() > MAX_LINES {
            faults.push(format!("{name}: {} lines of code, the limit is {MAX_LINES}", code.len()));
        }
        if !text.starts_with("//!") && !name.ends_with("/tests.rs") {
            faults.push(format!("{name}: no module doc comment"));
        }
        for (n, line) in code {
            for word in EMPTY_NAMES.iter().filter(|w| line.contains(**w)) {
                faults.push(format!("{name}:{n}: `{word}` says nothing about what it is"));
            }
            if line.contains("unsafe ")
                && line.contains('{')
                && name.starts_with("src/")
                && !UNSAFE_FILES.contains(&&*name)
            {
                faults.push(format!("{name}:{n}: `unsafe` lives in {}", UNSAFE_FILES.join(" and ")));
            }
            for word in ["unbounded_channel", "todo!(", "unimplemented!(", "#[ignore", "#[should_panic"] {
                if line.contains(word) {
                    faults.push(format!("{name}:{n}: `{word}`"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_map_of_the_house_is_short() {
    let map = read(&root().join("ARCHITECTURE.md"));
    assert!(map.lines().count() <= MAX_ARCHITECTURE, "ARCHITECTURE.md is over {MAX_ARCHITECTURE} lines");
    for (room, _) in ROOMS {
        assert!(map.contains(&format!("`{room}`")), "ARCHITECTURE.md does not mention room `{room}`");
    }
}

#[test]
fn there_is_one_tls_provider() {
    let lock = read(&root().join("Cargo.lock"));
    assert!(!lock.contains("name = \"aws-lc-rs\""), "a second rustls provider: rustls would pick neither");
}

/// A builder with a cache compiles once for both images as long as they are told the same.
#[test]
fn the_two_dockerfiles_compile_alike() {
    let compile = |component: &str| {
        let text = read(&root().join(format!("Dockerfile.{component}")));
        let begin = text.find("ARG RUST=").unwrap_or_default();
        let end = text.find("FROM compiled AS binaries").unwrap_or_default();
        let part = text.get(begin..end).unwrap_or_default();
        // what stands before the next stage is that stage's own comment
        part.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .fold(String::new(), |all, line| all + line + "\n")
    };
    let controller = compile("controller");
    assert!(controller.contains("AS dependencies") && controller.contains("AS compiled"), "{controller}");
    assert_eq!(controller, compile("speaker"));
}

/// Does `line` name the crate's module `room` (`crate::room`, or `room` inside `use crate::{…}`)?
fn mentions(line: &str, room: &str) -> bool {
    let single = [":", ";", " ", ","].iter().any(|end| line.contains(&format!("crate::{room}{end}")));
    let grouped = line.trim_start().starts_with("use crate::{")
        && line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == room);
    // A line of a `use crate::{` block that rustfmt has spread over several.
    let spread = line.starts_with("    ")
        && !line.starts_with("     ")
        && [format!("    {room}::"), format!("    {room},")]
            .iter()
            .any(|head| line.starts_with(head.as_str()));
    single || grouped || spread
}

/// Lines of code with their numbers: no comments, no blank lines, nothing after the test module.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(i, line)| (i + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    assert!(text.is_ok(), "{}: {text:?}", path.display());
    text.unwrap_or_default()
}

/// The files of a room, without those that hold only tests.
fn files_of(room: &str) -> Vec<PathBuf> {
    let src = root().join("src");
    let mut found = sources(&src.join(room));
    found.push(src.join(format!("{room}.rs")));
    found.retain(|path| path.exists() && !path.ends_with("tests.rs"));
    found
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
