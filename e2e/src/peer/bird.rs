//! A router that runs BIRD: what it shows is for people, and read line by line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};

use super::{At, Path, Restart, Seen, Settings, Table};
use crate::{
    bins,
    netns::Net,
    process::{Running, Spawn},
    tor::Family,
    wait,
    warden::Warden,
};

#[derive(Debug)]
pub(super) struct Bird {
    process: Running,
    socket: PathBuf,
    neighbours: Vec<At>,
}

impl Bird {
    pub(super) fn start(warden: &Warden, net: &Net, settings: &Settings) -> Result<Self> {
        let dir = warden.make_dir(net.role())?;
        let (file, socket) = (dir.join("bird.conf"), dir.join("bird.ctl"));
        fs::write(&file, conf(settings)?)?;
        let program = net.command(&bins::tool("bird")?.to_string_lossy());
        let process = program.args(["-f", "-c"]).arg(&file).arg("-s").arg(&socket);
        let process = process.log(dir.join("bird.log")).start(warden)?;
        let neighbours = settings.neighbours.iter().map(|neighbour| neighbour.at.clone()).collect();
        let bird = Self { process, socket, neighbours };
        bird.process.wait_for(wait::START, "BIRD to answer", || {
            Ok(bird.birdc("show status")?.contains("Daemon is up and running").then_some(()))
        })?;
        Ok(bird)
    }

    pub(super) fn process(&self) -> &Running {
        &self.process
    }

    /// What `birdc` answers.
    pub(super) fn birdc(&self, command: &str) -> Result<String> {
        Spawn::new(bins::tool("birdc")?).arg("-s").arg(&self.socket).args(command.split(' ')).text()
    }

    pub(super) fn seen(&self, at: &At) -> Result<Seen> {
        let index = self.neighbours.iter().position(|known| known == at).context("BIRD has no such peer")?;
        let text = self.birdc(&format!("show protocols all {}", protocol(index)))?;
        let line =
            |label: &str| text.lines().find_map(|line| line.trim_start().strip_prefix(label)).map(str::trim);
        let established = line("BGP state:") == Some("Established");
        // what the neighbour offered comes after what we did
        let theirs = text.split("Neighbor capabilities").nth(1).unwrap_or_default();
        let theirs = theirs.split("Session:").next().unwrap_or_default();
        let mut block = theirs.lines().map(str::trim);
        let offered = block.clone().find_map(|line| line.strip_prefix("AF announced:")).unwrap_or("ipv4");
        let restart = block.any(|line| line == "Graceful restart");
        let kept = block.find_map(|line| line.strip_prefix("AF supported:")).unwrap_or_default();
        Ok(Seen {
            established,
            asn: line("Neighbor AS:").and_then(|asn| asn.parse().ok()).unwrap_or_default(),
            id: line("Neighbor ID:").and_then(|id| id.parse().ok()),
            hold: line("Hold timer:")
                .and_then(|timer| timer.split('/').nth(1)?.parse().ok())
                .unwrap_or_default(),
            families: if established { families(offered) } else { BTreeSet::new() },
            restart: match restart {
                false => Restart::Unsaid,
                true if families(kept).is_empty() => Restart::Aware,
                true => Restart::Keeps(families(kept)),
            },
            life: self.life(index),
            lost: line("Last error:").unwrap_or_default().to_owned(),
        })
    }

    pub(super) fn lives(&self) -> BTreeMap<String, String> {
        let all = self.neighbours.iter().enumerate();
        all.map(|(index, at)| (super::name(at), self.life(index))).collect()
    }

    /// How often it has changed its state. (The time of the last change is a millisecond off, now and then.)
    fn life(&self, index: usize) -> String {
        let changes = format!(" {}: State changed to ", protocol(index));
        format!("{} changes", self.process.log_text().matches(&changes).count())
    }

    pub(super) fn table(&self) -> Result<Table> {
        let mut table = read(&self.birdc("show route all")?)?;
        for path in table.values_mut().flatten() {
            let at = (0..).zip(&self.neighbours).find(|(index, _)| protocol(*index) == path.from);
            if let Some((_, at)) = at {
                path.from = super::name(at);
            }
        }
        Ok(table)
    }
}

/// The tables as BIRD prints them: a line with the prefix or, for further paths, with spaces in its place; then a line
/// per attribute, each after a tab.
fn read(text: &str) -> Result<Table> {
    let mut table = Table::new();
    let mut prefix = String::new();
    for line in text.lines() {
        if line.starts_with("Table ") || line.starts_with("BIRD ") || line.trim().is_empty() {
            continue;
        }
        if let Some(attribute) = line.strip_prefix('\t') {
            let path = table.get_mut(&prefix).and_then(|paths: &mut Vec<Path>| paths.last_mut());
            let Some((key, value)) = attribute.split_once(':') else { continue };
            if let Some(path) = path {
                attribute_of(path, key, value.trim())?;
            }
            continue;
        }
        if !line.starts_with(' ') {
            prefix = line.split_whitespace().next().unwrap_or_default().to_owned();
        }
        let Some((_, source)) = line.split_once('[') else { bail!("BIRD's table has the line {line:?}") };
        let from = source.split_whitespace().next().unwrap_or_default().to_owned();
        // the preference stands in parentheses, with an `s` behind it
        let stale = line.split(['(', ')']).any(|part| part.strip_suffix('s').is_some_and(is_number));
        table.entry(prefix.clone()).or_default().push(Path { from, stale, ..Path::default() });
    }
    Ok(table)
}

fn attribute_of(path: &mut Path, key: &str, value: &str) -> Result<()> {
    match key {
        "BGP.as_path" => path.as_path = value.split_whitespace().filter_map(|asn| asn.parse().ok()).collect(),
        "BGP.next_hop" => {
            let first = value.split_whitespace().next().context("BIRD names no next hop")?;
            path.next_hop = Some(first.parse().with_context(|| format!("BIRD's next hop {first:?}"))?);
        }
        "BGP.local_pref" => path.local_pref = Some(value.parse()?),
        "BGP.med" => path.med = Some(value.parse()?),
        "BGP.community" | "BGP.large_community" => {
            let communities = value.split(')').map(|part| part.trim().trim_start_matches('('));
            let communities = communities.filter(|part| !part.is_empty());
            path.communities.extend(communities.map(|part| part.replace(", ", ":").replace(',', ":")));
        }
        _ => {}
    }
    Ok(())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn families(text: &str) -> BTreeSet<Family> {
    let words = text.split_whitespace();
    words
        .filter_map(|word| match word {
            "ipv4" => Some(Family::V4),
            "ipv6" => Some(Family::V6),
            _ => None,
        })
        .collect()
}

fn protocol(index: usize) -> String {
    format!("p{index}")
}

fn conf(settings: &Settings) -> Result<String> {
    let Settings { asn, id, local, port, neighbours } = settings;
    // interfaces are looked at often, since a cable may come after the start; over hops BIRD misses nobody whom only
    // the machine held up
    let mut text = format!(
        "log stderr all;\nrouter id {id};\nprotocol device {{ scan time 1; }}\n\
         protocol direct {{ ipv4; ipv6; }}\nprotocol bfd {{ interface \"*\" {{ interval 300 ms; }}; \
         multihop {{ interval 300 ms; multiplier 50; }}; }}\n"
    );
    for (index, neighbour) in neighbours.iter().enumerate() {
        let At::Address(at) = neighbour.at else { bail!("BIRD gets its neighbours by address here") };
        let same = |ip: &IpAddr| ip.is_ipv4() == at.is_ipv4();
        let local = local.filter(same).map(|ip| format!("local {ip} port {port}")).unwrap_or_default();
        let local = if local.is_empty() { format!("local port {port}") } else { local };
        text += &format!(
            "protocol bgp {} {{\n  {local} as {asn};\n  neighbor {at} as {};\n  passive on;\n  debug {{ states }};\n  \
             error wait time 1, 2;\n",
            protocol(index),
            neighbour.asn
        );
        if neighbour.multihop {
            let hops = neighbour.hops.map(|hops| format!(" {hops}")).unwrap_or_default();
            text += &format!("  multihop{hops};\n");
        } else if neighbour.asn == *asn {
            text += "  direct;\n";
        }
        if neighbour.hops.is_some() {
            text += "  ttl security on;\n";
        }
        if let Some(password) = neighbour.password {
            text += &format!("  password \"{password}\";\n");
        }
        if neighbour.bfd {
            text += "  bfd on;\n";
        }
        for (family, channel) in [(Family::V4, "ipv4"), (Family::V6, "ipv6")] {
            if neighbour.families.contains(&family) {
                text += &format!("  {channel} {{ import all; export none; }};\n");
            }
        }
        text += "}\n";
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_with_their_attributes() {
        let text = "BIRD 2.0.12 ready.\nTable master4:\n\
            10.99.0.1/32         unicast [p0 06:42:59.704] * (100) [AS64512i]\n\tvia 10.9.0.1 on eth0\n\
            \tType: BGP univ\n\tBGP.as_path: 64512 64512\n\tBGP.next_hop: 10.9.0.1\n\tBGP.local_pref: 333\n\
            \tBGP.community: (1,2) (3,4)\n\tBGP.large_community: (1, 2, 3)\n\
            \x20                    unreachable [p1 06:42:59.704 from 10.9.0.5] (100s) [i]\n\tBGP.med: 7\n";
        let table = read(text).unwrap();
        let [one, two] = table["10.99.0.1/32"].as_slice() else { panic!("{table:?}") };
        assert_eq!((one.as_path.as_slice(), one.local_pref), (&[64512, 64512][..], Some(333)));
        assert_eq!(one.next_hop, "10.9.0.1".parse().ok());
        assert_eq!(one.communities, ["1:2", "3:4", "1:2:3"].map(str::to_owned).into());
        assert_eq!((two.from.as_str(), two.med, two.stale), ("p1", Some(7), true));
        assert!(!one.stale);
    }
}
