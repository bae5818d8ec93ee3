//! Both sides in turn, several times, each time from an empty system on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lockstep::connector::{Apply, Changeset, Seen};
use lockstep::ids::Fence;
use lockstep::plan::diff;
use lockstep::resource::Direction;
use lockstep::state::{Bucket, State, state_digest};

use crate::measure::{cpu_of_children, cpu_of_threads, millis};
use crate::peer::Peer;

/// How often, and how many single changes each time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    rounds: usize,
    changes: usize,
}

impl Rounds {
    pub(crate) const QUICK: Self = Self {
        rounds: 5,
        changes: 20,
    };
    pub(crate) const SLOW: Self = Self {
        rounds: 3,
        changes: 5,
    };
}

/// Milliseconds: of this process, of the servers below it, and by the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    own: f64,
    server: f64,
    wall: f64,
}

impl Spent {
    const NOTHING: Self = Self {
        own: 0.0,
        server: 0.0,
        wall: 0.0,
    };
    const ENDLESS: Self = Self {
        own: f64::INFINITY,
        server: f64::INFINITY,
        wall: f64::INFINITY,
    };

    pub(crate) fn to_words(self) -> [String; 3] {
        [self.own, self.server, self.wall].map(|n| n.to_string())
    }

    fn plus(self, other: Self) -> Self {
        Self {
            own: self.own + other.own,
            server: self.server + other.server,
            wall: self.wall + other.wall,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn over(self, count: usize) -> Self {
        let count = count as f64;
        Self {
            own: self.own / count,
            server: self.server / count,
            wall: self.wall / count,
        }
    }

    /// The cheaper run, as one: its CPU is one run's. The shortest time may be another's.
    fn least(self, other: Self) -> Self {
        let wall = self.wall.min(other.wall);
        let cheaper = match self.own + self.server <= other.own + other.server {
            true => self,
            false => other,
        };
        Self { wall, ..cheaper }
    }
}

/// What it costs to do something.
async fn spent(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Spent> {
    let (server, own, start) = (cpu_of_children()?, cpu_of_threads()?, Instant::now());
    work.await?;
    let wall = millis(start.elapsed());
    Ok(Spent {
        own: cpu_of_threads()? - own,
        server: cpu_of_children()? - server,
        wall,
    })
}

/// Of the first sync ours and bare, then of one change ours and bare.
pub(crate) async fn measure(
    peer: &mut dyn Peer,
    count: usize,
    rounds: Rounds,
) -> anyhow::Result<Vec<Spent>> {
    let mut states = vec![State::default(), peer.all(count)?];
    for edition in 1..=rounds.changes {
        states.push(match states.get(1) {
            Some(all) => peer.changed(all, edition)?,
            None => State::default(),
        });
    }
    let steps: Vec<(&State, &State)> = states.iter().zip(states.iter().skip(1)).collect();
    let mut least = [Spent::ENDLESS; 4];
    for _ in 0..rounds.rounds {
        let connector = peer.connector().await?;
        // Both sides are connected when the clock starts.
        connector.digests(None).await?;
        let mut ours = Vec::new();
        for (n, (before, after)) in steps.iter().enumerate() {
            ours.push(spent(sync(&*connector, n, before, after)).await?);
        }
        drop(connector);
        let mut client = peer.bare().await?;
        let mut bare = Vec::new();
        for (n, (before, after)) in steps.iter().enumerate() {
            client.ready(&changeset(n, before, after)?).await?;
            bare.push(spent(client.write()).await?);
        }
        let found = [ours, bare].map(|all| {
            let first = all.first().copied().unwrap_or(Spent::ENDLESS);
            let rest = all.iter().skip(1).copied();
            let rest = rest.fold(Spent::NOTHING, Spent::plus);
            (first, rest.over(rounds.changes))
        });
        let [(first, one), (bare_first, bare_one)] = found;
        for (least, found) in least.iter_mut().zip([first, bare_first, one, bare_one]) {
            *least = least.least(found);
        }
    }
    Ok(least.to_vec())
}

fn changeset(n: usize, before: &State, after: &State) -> anyhow::Result<Changeset> {
    Ok(Changeset {
        id: format!("bench-{n}").parse()?,
        revision: "1".repeat(40).parse()?,
        base: before.digest(),
        target: after.digest(),
        fence: Fence(1),
        owner: None,
        changes: diff(before, after, |_, _, _| Direction::Neutral),
    })
}

/// A pass, as the engine asks it of a connector.
async fn sync(
    connector: &dyn Apply,
    n: usize,
    before: &State,
    after: &State,
) -> anyhow::Result<()> {
    match connector.digests(Some(before.digest())).await? {
        Seen::Unchanged => {}
        Seen::Digests { digest, .. } => {
            anyhow::ensure!(digest == before.digest(), "it holds something else");
        }
    }
    let changeset = changeset(n, before, after)?;
    anyhow::ensure!(!changeset.changes.is_empty(), "nothing to do");
    connector.prepare(&changeset).await?;
    let receipt = connector.commit(&changeset.id, changeset.fence).await?;
    anyhow::ensure!(receipt.digest == after.digest(), "it came to another state");
    verify(connector, &changeset).await
}

/// Reads back what was touched.
async fn verify(connector: &dyn Apply, changeset: &Changeset) -> anyhow::Result<()> {
    let Seen::Digests { mut buckets, .. } = connector.digests(None).await? else {
        anyhow::bail!("unchanged since nothing");
    };
    let changes = changeset.changes.iter();
    let touched: BTreeSet<u8> = changes.map(|change| change.id.bucket()).collect();
    let touched: Vec<u8> = touched.into_iter().collect();
    let mut read: BTreeMap<u8, Vec<_>> = touched.iter().map(|b| (*b, Vec::new())).collect();
    for item in connector.items(&touched).await? {
        read.entry(item.bucket).or_default().push(item);
    }
    for (index, items) in read {
        if let Some(place) = buckets.get_mut(usize::from(index)) {
            *place = Bucket::new(items).digest();
        }
    }
    anyhow::ensure!(state_digest(buckets) == changeset.target, "not in step");
    Ok(())
}
