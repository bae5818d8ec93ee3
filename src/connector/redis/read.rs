//! What lies under the prefix, as a state. A script has the server say of each bucket in short what its hashes hold; only buckets whose short
//! differs from the one known are sent and read. So a value that anybody changed is seen, whatever the digest key says.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, cmd};

use super::RedisSettings;
use super::keys::Keys;
use super::server::Doing as _;
use crate::connector::ConnectorError;
use crate::ids::{ResourceRef, Revision};
use crate::state::{BUCKETS, Bucket, Item, Spec, State};

/// What was read, and what the server said of each bucket in short: nothing of an empty one.
#[derive(Debug)]
pub(super) struct View {
    prints: Vec<String>,
    pub(super) state: State,
    pub(super) revision: Option<Revision>,
}

/// Of each index in KEYS: SHA-1 over the names and what their hashes hold; `!` and the name where a hash is missing. ARGV[1] is what the names of
/// hashes begin with.
const PRINTS: &str = r"
local prints = {}
for n, index in ipairs(KEYS) do
  local names = redis.call('SMEMBERS', index)
  table.sort(names)
  local parts, missing = {}, nil
  for i, name in ipairs(names) do
    local held = redis.call('HMGET', ARGV[1] .. name, 'kind', 'name', 'spec')
    if held[1] and held[2] and held[3] then
      parts[i] = name .. ' ' .. redis.sha1hex(held[1] .. '/' .. held[2] .. ' ' .. held[3])
    else
      missing = missing or name
    end
  end
  if missing then prints[n] = '!' .. missing
  elseif #names == 0 then prints[n] = ''
  else prints[n] = redis.sha1hex(table.concat(parts, '\n')) end
end
return prints
";

/// How many buckets one call of the script is for: the server does nothing else meanwhile.
const AT_ONCE: usize = 16;

/// How many hashes are asked for in one go.
const PORTION: usize = 1000;

/// How often reading begins anew where a changeset was committed meanwhile.
const TRIES: usize = 5;

/// Reads what there is, between two commits.
pub(super) async fn view(
    on: &mut MultiplexedConnection,
    settings: &RedisSettings,
    known: Option<&Arc<View>>,
) -> Result<Arc<View>, ConnectorError> {
    let keys = &settings.keys;
    for _ in 0..TRIES {
        let (version, revision) = standing(on, keys).await?;
        let read = read(on, settings, known, revision).await;
        if standing(on, keys).await?.0 == version {
            return read;
        }
    }
    Err(ConnectorError::Transient {
        message: "its state was changed each time that it was being read".to_owned(),
    })
}

/// How many changesets were committed, and the revision of the last.
async fn standing(
    on: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<(Option<String>, Option<String>), ConnectorError> {
    cmd("HMGET")
        .arg(keys.state())
        .arg(&["version", "revision"])
        .query_async(on)
        .await
        .doing("read the digest key")
}

async fn read(
    on: &mut MultiplexedConnection,
    settings: &RedisSettings,
    known: Option<&Arc<View>>,
    revision: Option<String>,
) -> Result<Arc<View>, ConnectorError> {
    let keys = &settings.keys;
    let prints = prints(on, keys).await?;
    let is_known = |index: usize| {
        let before = known.and_then(|known| known.prints.get(index));
        before.is_some() && before == prints.get(index)
    };
    let wanted: Vec<u8> = (0..=u8::MAX)
        .filter(|index| {
            let index = usize::from(*index);
            !is_known(index) && prints.get(index).is_some_and(|p| !p.is_empty())
        })
        .collect();
    let mut fetched: Vec<Vec<Arc<Item>>> = vec![Vec::new(); BUCKETS];
    for item in items(on, settings, &wanted).await? {
        if let Some(bucket) = fetched.get_mut(usize::from(item.bucket)) {
            bucket.push(item);
        }
    }
    let buckets = fetched.into_iter().enumerate().map(|(index, items)| {
        let kept = known.filter(|_| is_known(index));
        let kept = kept.and_then(|known| known.state.buckets().get(index));
        kept.cloned()
            .unwrap_or_else(|| Arc::new(Bucket::new(items)))
    });
    let state = State::from_buckets(buckets.collect());
    Ok(Arc::new(View {
        prints,
        state,
        revision: revision.and_then(|r| r.parse().ok()),
    }))
}

async fn prints(
    on: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<Vec<String>, ConnectorError> {
    let mut pipe = Pipeline::new();
    let indexes: Vec<String> = (0..=u8::MAX).map(|bucket| keys.index(bucket)).collect();
    for some in indexes.chunks(AT_ONCE) {
        pipe.cmd("EVAL")
            .arg(PRINTS)
            .arg(some.len())
            .arg(some)
            .arg(keys.resources());
    }
    let prints: Vec<Vec<String>> = pipe
        .query_async(on)
        .await
        .doing("ask what the hashes hold")?;
    let prints = prints.concat();
    for (bucket, print) in (0..=u8::MAX).zip(&prints) {
        if let Some(name) = print.strip_prefix('!') {
            return Err(gone(keys, bucket, name));
        }
    }
    Ok(prints)
}

/// A hash that the index names and that is not there, or not whole, is not taken for one that nobody wanted.
fn gone(keys: &Keys, bucket: u8, name: &str) -> ConnectorError {
    ConnectorError::Terminal {
        message: format!(
            "{} names {name}, and there is no hash {}{name} with kind, name and spec: it was deleted, has expired or was evicted; put it \
             back, or take the name out of the set",
            keys.index(bucket),
            keys.resources()
        ),
    }
}

type Held = Vec<Option<Vec<u8>>>;

async fn items(
    on: &mut MultiplexedConnection,
    settings: &RedisSettings,
    buckets: &[u8],
) -> Result<Vec<Arc<Item>>, ConnectorError> {
    let keys = &settings.keys;
    if buckets.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipe = Pipeline::new();
    for bucket in buckets {
        pipe.cmd("SMEMBERS").arg(keys.index(*bucket));
    }
    let members: Vec<Vec<String>> = pipe.query_async(on).await.doing("read the index")?;
    let mut names: Vec<(u8, String)> = Vec::new();
    for (bucket, members) in buckets.iter().zip(members) {
        names.extend(members.into_iter().map(|name| (*bucket, name)));
    }
    let mut all = Vec::new();
    for some in names.chunks(PORTION) {
        let mut pipe = Pipeline::new();
        for (_, name) in some {
            pipe.cmd("HMGET")
                .arg(keys.resource(name))
                .arg(&["kind", "name", "spec"]);
        }
        let held: Vec<Held> = pipe.query_async(on).await.doing("read the hashes")?;
        for ((bucket, name), held) in some.iter().zip(held) {
            let item = item(keys, (*bucket, name), &held)?;
            if settings
                .kinds
                .iter()
                .any(|kind| kind.as_str() == item.id.kind())
            {
                all.push(item);
            }
        }
    }
    Ok(all)
}

/// One hash as a resource. One that is none is an error with its place: left out, it would be taken for deleted.
fn item(keys: &Keys, (bucket, at): (u8, &str), held: &Held) -> Result<Arc<Item>, ConnectorError> {
    let key = keys.resource(at);
    let wrong = |why: String| ConnectorError::Terminal {
        message: format!(
            "the hash {key} is no resource: {why}; mend it, nothing is done before it can be read"
        ),
    };
    let [Some(kind), Some(name), Some(spec)] = held.as_slice() else {
        return Err(gone(keys, bucket, at));
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|e| wrong(e.to_string()));
    let id = ResourceRef::new(&text(kind)?, &text(name)?).map_err(|e| wrong(e.to_string()))?;
    if id.as_str() != at || id.bucket() != bucket {
        return Err(wrong(format!("it says that it is {id}")));
    }
    let spec = Spec::from_text(&text(spec)?).map_err(|e| wrong(e.to_string()))?;
    Ok(Arc::new(Item::new(id, spec)))
}
