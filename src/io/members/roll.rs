//! Who is there, by the Leases that each speaker renews: what the watch shows and the time come in, a [`View`] goes out.
//!
//! Clocks of other hosts count for nothing: a Lease is as old as its last change is here. And silence is death only
//! where others would have been heard: time counts as long as the own renewals come back on the watch. When the API
//! server was away nobody could renew, and everybody has a whole term again.
//! Who cannot renew may be the only one: then the others give it up, and what they claim on the wire is theirs. If
//! nobody can, nobody claims anything. Nothing here touches the world.

use super::{
    fact::{Fact, Stage},
    gossip::{View, Word},
};
use crate::names::NodeName;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A speaker's Lease, as the watch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    /// Its node.
    pub(super) node: NodeName,
    /// What is another one with every renewal.
    pub(super) renewal: String,
    /// What it says of itself; `None` where that makes no sense.
    pub(super) fact: Option<Fact>,
}

/// Another speaker.
struct Other {
    renewal: String,
    /// When that was first seen.
    since: Instant,
    /// Whether it was renewed before our eyes: what a listing shows may be long dead.
    fresh: bool,
    fact: Option<Fact>,
}

/// All that is known of the speakers.
pub(super) struct Roll {
    me: NodeName,
    fact: Fact,
    /// How long who does not renew is there.
    term: Duration,
    /// How long a renewal may take until it does not count as one of a row.
    patience: Duration,
    others: BTreeMap<NodeName, Other>,
    /// Those of the listing that is under way.
    listing: Option<Vec<NodeName>>,
    listed: bool,
    /// Which of our own renewals came back last, and when.
    echo: Option<(String, Instant)>,
    lapsed: bool,
    view: Arc<View>,
}

impl Roll {
    pub(super) fn new(me: NodeName, term: Duration, patience: Duration) -> Self {
        Self {
            me,
            fact: Fact::default(),
            term,
            patience,
            others: BTreeMap::new(),
            listing: None,
            listed: false,
            echo: None,
            lapsed: false,
            view: Arc::default(),
        }
    }

    /// What this speaker says of itself from now on.
    pub(super) fn say(&mut self, fact: &Fact) {
        self.fact = fact.clone();
        self.look();
    }

    /// A listing begins.
    pub(super) fn list(&mut self) {
        self.listing = Some(Vec::new());
    }

    /// The listing is over: who is not in it is gone.
    pub(super) fn listed(&mut self) {
        if let Some(there) = self.listing.take() {
            self.others.retain(|node, _| there.contains(node));
            self.listed = true;
            self.look();
        }
    }

    /// Takes in a Lease.
    pub(super) fn saw(&mut self, now: Instant, sign: Sign) {
        if let Some(there) = &mut self.listing {
            there.push(sign.node.clone());
        }
        if sign.node == self.me {
            self.heard_myself(now, sign.renewal);
        } else {
            let before = self.others.get(&sign.node);
            let (since, fresh) = match before {
                Some(before) if before.renewal == sign.renewal => (before.since, before.fresh),
                Some(_) => (now, true),
                // one that is made anew has somebody who made it
                None => (now, self.listing.is_none()),
            };
            let fact = sign.fact.or_else(|| before.and_then(|before| before.fact.clone()));
            self.others.insert(sign.node, Other { renewal: sign.renewal, since, fresh, fact });
        }
        self.look();
    }

    /// A speaker has taken its Lease back.
    pub(super) fn gone(&mut self, node: &NodeName) {
        self.others.remove(node);
        self.look();
    }

    /// Looks whether our renewals come back: sooner than anybody gives us up.
    pub(super) fn pass(&mut self, now: Instant) {
        self.lapsed = self.lapses().is_some_and(|at| at <= now);
        self.look();
    }

    /// When [`Self::pass`] finds that they do not; `None` when it has, or there was none yet.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lapses().filter(|_| !self.lapsed)
    }

    fn lapses(&self) -> Option<Instant> {
        self.echo.as_ref().map(|(_, at)| *at + self.patience)
    }

    /// How many others are there, ready or not.
    pub(super) fn others(&self) -> usize {
        self.others.len()
    }

    /// Who is there; the same one as long as nothing changes.
    pub(super) const fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The watch works, and the API server takes renewals: time counts.
    fn heard_myself(&mut self, now: Instant, renewal: String) {
        let before = self.echo.as_ref();
        if before.is_some_and(|(last, _)| *last == renewal) {
            // a listing shows it once more, which says nothing of the time since
            return;
        }
        let in_a_row = before.is_some_and(|(_, at)| now.saturating_duration_since(*at) <= self.patience);
        (self.echo, self.lapsed) = (Some((renewal, now)), false);
        if in_a_row {
            let term = self.term;
            self.others.retain(|_, other| now.saturating_duration_since(other.since) < term);
        } else {
            self.others.values_mut().for_each(|other| other.since = now);
        }
    }

    fn look(&mut self) {
        let settled = self.view.settled
            || self.listed && self.echo.is_some() && self.others.values().all(|other| other.fresh);
        let word = if self.lapsed { Word::Lapsed } else { Word::Renewed };
        let mut view = View { settled, word, ..View::default() };
        for (node, other) in &self.others {
            if let Some(fact) = other.fact.as_ref().filter(|fact| fact.stage != Stage::Starting) {
                view.members.insert(node.clone(), fact.as_member());
            }
        }
        view.members.insert(self.me.clone(), self.fact.as_member());
        if *self.view != view {
            self.view = Arc::new(view);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(3);
    const PATIENCE: Duration = Duration::from_secs(2);

    /// A roll that a test tells of renewals, by seconds.
    struct Call(Roll, Instant);

    impl Call {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "some moment to begin with")]
            let start = Instant::now();
            Self(Roll::new("n1".into(), TERM, PATIENCE), start)
        }

        fn renewed(&mut self, second: f64, node: &str, renewal: u32) {
            let at = self.1 + Duration::from_secs_f64(second);
            let fact = Some(Fact { stage: Stage::Ready, ..Fact::default() });
            self.0.saw(at, Sign { node: node.into(), renewal: renewal.to_string(), fact });
        }

        fn there(&self) -> Vec<&str> {
            self.0.view().members.keys().map(NodeName::as_str).collect()
        }

        /// A roll of three that have all renewed at second 1.
        fn of_three() -> Self {
            let mut call = Self::new();
            call.0.list();
            for node in ["n1", "n2", "n3"] {
                call.renewed(0.0, node, 0);
            }
            call.0.listed();
            for node in ["n1", "n2", "n3"] {
                call.renewed(1.0, node, 1);
            }
            assert_eq!(call.there(), ["n1", "n2", "n3"]);
            call
        }
    }

    #[test]
    fn who_is_silent_is_there_for_a_term() {
        let mut call = Call::of_three();
        for second in 2..=3 {
            call.renewed(f64::from(second), "n1", second);
            call.renewed(f64::from(second), "n2", second);
            assert_eq!(call.there(), ["n1", "n2", "n3"], "second {second}");
        }
        call.renewed(4.0, "n1", 4);
        assert_eq!(call.there(), ["n1", "n2"]);
        call.renewed(9.0, "n3", 5);
        assert_eq!(call.there(), ["n1", "n2", "n3"], "back");
    }

    #[test]
    fn nobody_dies_while_the_api_server_is_away_nor_right_after() {
        let mut call = Call::of_three();
        // nothing for half a minute, then a listing of what was there before
        call.0.list();
        for node in ["n1", "n2", "n3"] {
            call.renewed(30.5, node, 1);
        }
        call.0.listed();
        assert_eq!(call.there(), ["n1", "n2", "n3"]);
        // this one is the first to get through
        call.renewed(31.0, "n1", 2);
        assert_eq!(call.there(), ["n1", "n2", "n3"]);
        for second in 32..=33 {
            call.renewed(f64::from(second), "n1", second);
            call.renewed(f64::from(second), "n2", second);
        }
        assert_eq!(call.there(), ["n1", "n2", "n3"]);
        call.renewed(34.5, "n1", 34);
        assert_eq!(call.there(), ["n1", "n2"], "but who stays silent now has died meanwhile");
    }

    #[test]
    fn who_cannot_renew_knows_it_before_the_others_do() {
        let mut call = Call::of_three();
        let at = |call: &Call, second: f64| call.1 + Duration::from_secs_f64(second);
        let word = |call: &Call| call.0.view().word;
        assert_eq!((word(&call), call.0.next()), (Word::Renewed, Some(at(&call, 1.0) + PATIENCE)));
        call.renewed(2.0, "n1", 2);
        let (early, late) = (at(&call, 3.9), at(&call, 2.0) + PATIENCE);
        assert!(late < at(&call, 1.0) + TERM + PATIENCE);
        call.0.pass(early);
        assert_eq!(word(&call), Word::Renewed);
        call.0.pass(late);
        assert_eq!((word(&call), call.0.next()), (Word::Lapsed, None));
        assert_eq!(call.there(), ["n1", "n2", "n3"], "and is there all the same, as far as it knows");
        // a listing shows what was there before
        call.renewed(8.0, "n1", 2);
        assert_eq!(word(&call), Word::Lapsed);
        call.renewed(8.1, "n1", 3);
        assert_eq!(word(&call), Word::Renewed, "until it renews again");
    }

    #[test]
    fn a_start_waits_until_it_knows_who_is_dead() {
        let mut call = Call::new();
        assert!(!call.0.view().settled);
        call.0.list();
        call.renewed(0.0, "n2", 0);
        call.renewed(0.0, "n3", 0);
        call.0.listed();
        call.renewed(0.1, "n1", 1);
        assert!(!call.0.view().settled, "what was listed may be old");
        call.renewed(0.5, "n2", 1);
        for second in 1..3 {
            call.renewed(f64::from(second), "n1", second as u32 + 1);
            call.renewed(f64::from(second) + 0.5, "n2", second as u32 + 1);
        }
        assert!(!call.0.view().settled, "n3 has time left");
        call.renewed(3.1, "n1", 9);
        assert!(call.0.view().settled);
        assert_eq!(call.there(), ["n1", "n2"]);
    }

    #[test]
    fn who_goes_or_does_not_answer_yet_is_not_there() {
        let mut call = Call::of_three();
        call.0.gone(&"n2".into());
        assert_eq!(call.there(), ["n1", "n3"]);
        let at = call.1 + Duration::from_secs(2);
        let starting = Sign { node: "n2".into(), renewal: "x".into(), fact: Some(Fact::default()) };
        call.0.saw(at, starting);
        assert_eq!((call.there(), call.0.others()), (vec!["n1", "n3"], 2));
        let senseless = Sign { node: "n3".into(), renewal: "y".into(), fact: None };
        call.0.saw(at, senseless);
        assert_eq!(call.there(), ["n1", "n3"], "it said something else before");
        let fact = Fact { stage: Stage::Leaving, ..Fact::default() };
        call.0.saw(at, Sign { node: "n3".into(), renewal: "z".into(), fact: Some(fact) });
        assert!(call.0.view().members[&NodeName::from("n3")].leaving);
        call.0.list();
        call.renewed(2.5, "n1", 3);
        call.0.listed();
        assert_eq!(call.there(), ["n1"], "who is not listed is gone");
    }
}
