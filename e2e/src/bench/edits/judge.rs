//! The judge: which sessions ended and which prefixes were withdrawn that nobody wanted to.

use std::net::IpAddr;

use super::objects::Told;
use crate::updates::{End, Update};

/// How many ends of sessions, and how many withdrawals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    ends: usize,
    withdrawals: usize,
}

/// What passed since it was last judged. A session is called by the node's own address.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// With all before.
    pub(super) counts: Counts,
    ended: Vec<IpAddr>,
    withdrawn: Vec<(IpAddr, String)>,
}

/// What is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Sessions that ended although their own settings had not changed.
    pub(super) dropped: Vec<IpAddr>,
    /// Withdrawals of prefixes that were wanted before and after.
    pub(super) strays: Vec<(IpAddr, String)>,
}

impl Passed {
    /// Compares it with what was wanted before and after, and with the sessions whose own settings changed.
    pub(super) fn judge(&self, before: &Told, after: &Told, touched: &[Option<IpAddr>]) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.dropped.extend(self.ended.iter().filter(|session| !touched.contains(&Some(**session))));
        let strays = self.withdrawn.iter().filter(|(session, prefix)| {
            let wanted = |told: &Told| told.get(session).is_some_and(|told| told.contains_key(prefix));
            wanted(before) && wanted(after)
        });
        verdict.strays.extend(strays.cloned());
        verdict
    }
}

/// What the routers know that knew `base` before these ends and updates; and what passed after the `judged` ones.
pub(super) fn follow(base: &Told, ends: &[End], updates: &[Update], judged: Counts) -> (Told, Passed) {
    let mut told = base.clone();
    let mut passed = Passed {
        counts: Counts { ends: ends.len(), withdrawals: 0 },
        ended: ends.iter().skip(judged.ends).map(|end| end.caller).collect(),
        withdrawn: Vec::new(),
    };
    let mut ends = ends.iter().peekable();
    for update in updates {
        while let Some(end) = ends.next_if(|end| end.at <= update.at) {
            told.remove(&end.caller);
        }
        let told = told.entry(update.from).or_default();
        for prefix in &update.withdrawn {
            told.remove(prefix);
            passed.counts.withdrawals += 1;
            if passed.counts.withdrawals > judged.withdrawals {
                passed.withdrawn.push((update.from, prefix.clone()));
            }
        }
        for prefix in &update.announced {
            told.insert(prefix.clone(), update.communities.clone());
        }
    }
    for end in ends {
        told.remove(&end.caller);
    }
    (told, passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, time::Duration};

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 31, 1, 11));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 31, 2, 11));

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn update(at: u64, from: IpAddr, announced: &[&str], withdrawn: &[&str]) -> Update {
        Update {
            at: Duration::from_secs(at),
            from,
            announced: set(announced),
            withdrawn: set(withdrawn),
            communities: BTreeSet::new(),
            local_pref: None,
        }
    }

    fn told(of: &[(IpAddr, &[&str])]) -> Told {
        let list = |words: &[&str]| set(words).into_iter().map(|word| (word, BTreeSet::new())).collect();
        of.iter().map(|(session, words)| (*session, list(words))).collect()
    }

    /// A stray withdrawal and a dropped session are counted, even where the router knows everything again afterwards;
    /// wanted ones, and what was judged before, are not.
    #[test]
    fn what_nobody_wanted_is_counted() {
        let end = |at, caller| End { at: Duration::from_secs(at), caller };
        let updates = [
            update(1, ONE, &["a", "b", "c"], &[]),
            update(1, TWO, &["a", "b"], &[]),
            // judged
            update(2, ONE, &[], &["c"]),
            // a stray one, and back
            update(3, ONE, &[], &["a"]),
            update(4, ONE, &["a"], &[]),
            // wanted
            update(4, ONE, &[], &["b"]),
            // a new session tells all
            update(6, TWO, &["a"], &[]),
        ];
        let before = told(&[(ONE, &["a", "b"]), (TWO, &["a", "b"])]);
        let after = told(&[(ONE, &["a"]), (TWO, &["a"])]);
        let judged = Counts { ends: 1, withdrawals: 1 };
        let (knows, passed) = follow(&Told::new(), &[end(0, ONE), end(5, TWO)], &updates, judged);
        assert_eq!(knows, after);
        assert_eq!(passed.counts, Counts { ends: 2, withdrawals: 3 });
        let verdict = passed.judge(&before, &after, &[None, Some(ONE)]);
        assert_eq!(verdict, Verdict { dropped: vec![TWO], strays: vec![(ONE, "a".to_owned())] });
        assert!(passed.judge(&before, &after, &[Some(TWO), None]).dropped.is_empty());
    }

    /// What a router knew goes with the session.
    #[test]
    fn a_session_takes_along_what_it_told() {
        let base = told(&[(ONE, &["a"])]);
        let end = End { at: Duration::from_secs(2), caller: ONE };
        let (knows, _) = follow(&base, &[end], &[update(1, ONE, &["b"], &[])], Counts::default());
        assert_eq!(knows, Told::new());
        let (knows, _) = follow(&base, &[end], &[update(3, ONE, &["b"], &[])], Counts::default());
        assert_eq!(knows, told(&[(ONE, &["b"])]));
    }
}
