//! Raw configuration: text that users write for FRR itself, taken apart into lines, each with where it belongs.
//!
//! Lines that a [`Model`] has room for become part of the model, so that nobody undoes them; the others stay lines,
//! which are sent once, and taken back when they are gone from the text. Nothing is known of what they mean: no line
//! is checked but for characters that could hide another one.

use super::{Model, read, render};
use std::{collections::BTreeSet, fmt::Write};

/// The longest line: FRR's daemons cut longer ones.
const LINE: usize = 2048;

/// One line of raw configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawLine {
    /// The lines that lead to where it belongs, the outermost first.
    pub path: Vec<String>,
    /// The line.
    pub text: String,
    /// The object that it was read from.
    pub owner: String,
}

/// A character that has no place in a line of configuration, and the line, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RawError {
    /// A control character.
    #[error("line {0} has the control character {1:?}")]
    Control(usize, char),
    /// More than 2048 bytes.
    #[error("line {0} is longer than {LINE} bytes")]
    Long(usize),
}

/// First words of lines that others stand under; anywhere else they lead out of where the text is.
const TOP: [&str; 7] =
    ["router ", "route-map ", "interface ", "vrf ", "key chain ", "nexthop-group ", "pbr-map "];

/// First words of lines that stand under none of those.
const PLAIN: [&str; 14] = [
    "ip prefix-list ",
    "ipv6 prefix-list ",
    "access-list ",
    "ipv6 access-list ",
    "bgp community-list ",
    "bgp large-community-list ",
    "bgp extcommunity-list ",
    "bgp as-path ",
    "bgp route-map ",
    "debug ",
    "log ",
    "ip nht ",
    "ipv6 nht ",
    "hostname ",
];

/// Takes the text apart.
///
/// # Errors
/// The first character that must not be there.
pub(super) fn parse(text: &str, owner: &str) -> Result<Vec<RawLine>, RawError> {
    take_apart(text, owner, None)
}

/// The same; a line after the comment `way` only leads to others.
fn take_apart(text: &str, owner: &str, way: Option<&str>) -> Result<Vec<RawLine>, RawError> {
    let mut lines: Vec<RawLine> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut leads = false;
    for (i, line) in text.lines().enumerate() {
        if line.len() > LINE {
            return Err(RawError::Long(i + 1));
        }
        let hidden = |c: &char| (c.is_control() && *c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
        if let Some(c) = line.chars().find(hidden) {
            return Err(RawError::Control(i + 1, c));
        }
        let words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let line = words.collect::<Vec<_>>().join(" ");
        match line.as_str() {
            "" => continue,
            comment if comment.starts_with(['!', '#']) => leads |= way == Some(comment),
            "end" | "exit-vrf" => path.clear(),
            "exit-address-family" => path.truncate(1),
            exit if exit == "quit" || exit == "exit" || exit.starts_with("exit-") => drop(path.pop()),
            line => {
                path.truncate(depth(&path, line));
                let entry = RawLine { path: path.clone(), text: line.to_owned(), owner: owner.to_owned() };
                if !std::mem::take(&mut leads) && !lines.contains(&entry) {
                    lines.push(entry);
                }
                if opens(&path, line) {
                    path.push(line.to_owned());
                }
            }
        }
    }
    Ok(lines)
}

/// How much of `path` the line stands under.
fn depth(path: &[String], line: &str) -> usize {
    let Some(first) = path.first() else { return 0 };
    let positive = line.strip_prefix("no ").unwrap_or(line);
    let begins = |list: &[&str]| list.iter().any(|words| positive.starts_with(words));
    if positive == "bfd" || begins(&TOP) || begins(&PLAIN) {
        return 0;
    }
    if (positive.starts_with("ip route ") || positive.starts_with("ipv6 route "))
        && !first.starts_with("vrf ")
    {
        return 0;
    }
    let sibling = match first.split(' ').next().unwrap_or_default() {
        "router" if positive.starts_with("address-family ") => 1,
        "router" if positive.starts_with("vni ") => 2,
        "bfd" if positive.starts_with("profile ") || positive.starts_with("peer ") => 1,
        "key" if positive.starts_with("key ") => 1,
        _ => path.len(),
    };
    sibling.min(path.len())
}

/// Whether lines can stand under this one.
fn opens(path: &[String], line: &str) -> bool {
    let top = path.first().and_then(|first| first.split(' ').next());
    match (top, path.len()) {
        (None, _) => line == "bfd" || TOP.iter().any(|words| line.starts_with(words)),
        (Some("router"), 1) => line.starts_with("address-family "),
        (Some("router"), 2) => line.starts_with("vni "),
        (Some("bfd"), 1) => line.starts_with("profile ") || line.starts_with("peer "),
        (Some("key"), 1) => line.starts_with("key "),
        _ => false,
    }
}

impl RawLine {
    /// The lines of which the first that is taken takes it back; none for one that only leads to others.
    #[must_use]
    pub fn undo(&self) -> Vec<String> {
        if let Some(positive) = self.text.strip_prefix("no ") {
            return vec![positive.to_owned()];
        }
        let shared = ["address-family ", "interface ", "vrf "];
        let leads = self.text == "bfd" || shared.iter().any(|words| self.text.starts_with(words));
        if leads && opens(&self.path, &self.text) {
            return Vec::new();
        }
        let mut lines = vec![format!("no {}", self.text)];
        if let Some((before, _)) = self.text.split_once("description ") {
            lines.push(format!("no {before}description"));
        }
        lines
    }
}

/// What begins the raw part of the file, and each owner's part of it.
const BEGIN: &str = "! raw: ";

/// What comes before a line that is not of the owner, but leads to lines that are.
const WAY: &str = "!way";

/// The lines as the end of `frr.conf`.
pub(super) fn print(lines: &[RawLine]) -> String {
    let mut text = String::new();
    let mut owner = None;
    let mut open: Vec<&String> = Vec::new();
    let close = |text: &mut String, open: &mut Vec<&String>, to: usize| {
        while open.len() > to {
            let last = open.pop().map_or("", |line| line.as_str());
            let exit = match open.len() {
                1 if last.starts_with("address-family ") => "exit-address-family",
                2 if last.starts_with("vni ") => "exit-vni",
                _ => "exit",
            };
            // writing to a String does not fail
            let _ = writeln!(text, "{}{exit}", " ".repeat(open.len()));
        }
    };
    for line in lines {
        if owner != Some(&line.owner) {
            close(&mut text, &mut open, 0);
            let _ = writeln!(text, "{BEGIN}{}", line.owner);
            owner = Some(&line.owner);
        }
        let common = open.iter().zip(&line.path).take_while(|(a, b)| **a == *b).count();
        close(&mut text, &mut open, common);
        for head in line.path.iter().skip(common) {
            let _ = writeln!(text, "{WAY}\n{}{head}", " ".repeat(open.len()));
            open.push(head);
        }
        let _ = writeln!(text, "{}{}", " ".repeat(open.len()), line.text);
        if opens(&line.path, &line.text) {
            open.push(&line.text);
        }
    }
    close(&mut text, &mut open, 0);
    text
}

/// The lines of a file that [`render`] has made: what an earlier speaker has sent.
#[must_use]
pub fn written(file: &str) -> Vec<RawLine> {
    let mut all = Vec::new();
    let begin = format!("\n{BEGIN}");
    for part in file.split(&begin).skip(1) {
        let (owner, text) = part.split_once('\n').unwrap_or((part, ""));
        // what we have written has no such character
        all.extend(take_apart(text, owner, Some(WAY)).unwrap_or_default());
    }
    all
}

/// Adds raw lines to a model: to itself what it has room for, and to its `raw` the others.
pub(super) fn overlay(model: Model, lines: Vec<RawLine>) -> Model {
    if lines.is_empty() {
        return model;
    }
    // thousands of networks need not be printed and read for this
    let mut bare = model.clone();
    for router in bare.routers.values_mut() {
        router.networks.clear();
    }
    let Ok(mut text) = render(&bare) else { return Model { raw: lines, ..model } };
    text.push_str(&print(&lines));
    let found = read(&text);
    let foreign: BTreeSet<&str> = found.foreign.iter().map(|line| line.trim()).collect();
    let mut whole = Model { log: found.model.log.or(model.log), ..found.model };
    for (vrf, router) in model.routers {
        if let Some(whole) = whole.routers.get_mut(&vrf) {
            whole.networks.extend(router.networks);
        }
    }
    whole.raw = lines.into_iter().filter(|line| foreign.contains(line.text.as_str())).collect();
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
! what MetalLB's documentation has
route-map 10.0.0.1-in permit 20
router bgp 64512
 neighbor 10.0.0.1 timers 1 3
 address-family ipv4 unicast
  neighbor 10.0.0.1 maximum-prefix 10
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.0.0.1 soft-reconfiguration inbound
route-map EXTRA deny 5
\tmatch   ip address prefix-list EXTRA
exit
ip prefix-list EXTRA seq 5 permit 10.0.0.0/8
vrf red
 ip route 10.0.0.0/8 blackhole
exit-vrf
ip route 10.0.0.0/8 blackhole
bfd
 profile a
  transmit-interval 10
 profile b
  transmit-interval 20
end
no log stdout
";

    #[test]
    fn every_line_has_its_place() {
        let lines = parse(TEXT, "x").unwrap();
        let shown: Vec<String> =
            lines.iter().map(|l| format!("{} > {}", l.path.join(" > "), l.text)).collect();
        expect_test::expect![[r#"
             > route-map 10.0.0.1-in permit 20
             > router bgp 64512
            router bgp 64512 > neighbor 10.0.0.1 timers 1 3
            router bgp 64512 > address-family ipv4 unicast
            router bgp 64512 > address-family ipv4 unicast > neighbor 10.0.0.1 maximum-prefix 10
            router bgp 64512 > address-family ipv6 unicast
            router bgp 64512 > address-family ipv6 unicast > neighbor 10.0.0.1 soft-reconfiguration inbound
             > route-map EXTRA deny 5
            route-map EXTRA deny 5 > match ip address prefix-list EXTRA
             > ip prefix-list EXTRA seq 5 permit 10.0.0.0/8
             > vrf red
            vrf red > ip route 10.0.0.0/8 blackhole
             > ip route 10.0.0.0/8 blackhole
             > bfd
            bfd > profile a
            bfd > profile a > transmit-interval 10
            bfd > profile b
            bfd > profile b > transmit-interval 20
             > no log stdout"#]]
        .assert_eq(&shown.join("\n"));
        assert_eq!(written(&format!("router bgp 1\n{}", print(&lines))), lines);
        let undo: Vec<_> = lines.iter().flat_map(RawLine::undo).collect();
        assert!(undo.contains(&"log stdout".to_owned()) && undo.contains(&"no profile a".to_owned()));
        assert!(!undo.iter().any(|line| line.contains("address-family") || line == "no vrf red"));
    }

    #[test]
    fn nothing_hides_in_a_line() {
        for (text, fault) in [
            ("a\nb\0c", RawError::Control(2, '\0')),
            ("a\rb", RawError::Control(1, '\r')),
            ("\u{1b}[2J", RawError::Control(1, '\u{1b}')),
            ("a\u{2028}b", RawError::Control(1, '\u{2028}')),
            (&"x".repeat(10_000), RawError::Long(1)),
        ] {
            assert_eq!(parse(text, "x"), Err(fault));
        }
        assert_eq!(parse("a b\r\n\tc\r\n", "x").unwrap().len(), 2);
    }

    #[test]
    fn what_a_model_has_room_for_is_in_it() {
        let base = "route-map 10.0.0.1-in deny 20\nroute-map 10.0.0.1-out deny 65535\n\
                    router bgp 64512\n neighbor 10.0.0.1 remote-as 65001\n";
        let model = read(base).model;
        assert!(model.policies.values().all(|policy| policy.inbound));
        let whole = overlay(model, parse(TEXT, "x").unwrap());
        assert!(whole.routers[&None].sessions.values().all(|s| s.timers.is_some()));
        // the raw entry stands in the place of ours
        assert!(whole.policies.values().all(|policy| !policy.inbound));
        assert!(whole.raw.iter().any(|line| line.text == "route-map 10.0.0.1-in permit 20"));
        assert!(
            !whole.raw.iter().any(|line| line.text.contains("timers") || line.text.starts_with("router"))
        );
        assert_eq!(whole.bfd.len(), 2);
        let text = render(&whole).unwrap();
        assert_eq!(written(&text), whole.raw);
    }
}
