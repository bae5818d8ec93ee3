//! A shelf in memory, and what every shelf must do. Clones are one shelf, as replicas see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Kept, Put, Shelf};
use crate::connector::ConnectorError;
use crate::ids::Digest;

#[derive(Debug, Clone, Default)]
pub(in crate::connector) struct MemoryShelf(Arc<Mutex<BTreeMap<String, String>>>);

#[async_trait]
impl Shelf for MemoryShelf {
    async fn read(&self, name: &str) -> Result<Option<Kept>, ConnectorError> {
        let kept = self.0.lock().unwrap();
        Ok(kept.get(name).map(|text| Kept {
            digest: Digest::of(text.as_bytes()),
            text: text.clone(),
        }))
    }

    async fn write(
        &self,
        name: &str,
        over: Option<Digest>,
        text: &str,
    ) -> Result<Put, ConnectorError> {
        let mut kept = self.0.lock().unwrap();
        let there = kept.get(name).map(|text| Digest::of(text.as_bytes()));
        if there != over {
            return Ok(Put::Overtaken);
        }
        kept.insert(name.to_owned(), text.to_owned());
        Ok(Put::Done(Digest::of(text.as_bytes())))
    }

    async fn delete(&self, name: &str) -> Result<(), ConnectorError> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ConnectorError> {
        let kept = self.0.lock().unwrap();
        let names = kept.keys().filter(|name| name.starts_with(prefix));
        Ok(names.cloned().collect())
    }
}

/// What is asked of a shelf, through two handles on it.
pub(crate) async fn keeps_its_word(one: &dyn Shelf, two: &dyn Shelf) {
    let digest = |text: &str| Digest::of(text.as_bytes());
    assert_eq!(one.read("a/1").await, Ok(None));
    let first = one.write("a/1", None, "帳").await;
    assert_eq!(first, Ok(Put::Done(digest("帳"))));
    assert_eq!(two.write("a/1", None, "x").await, Ok(Put::Overtaken));
    let over = Some(digest("帳"));
    assert_eq!(two.write("a/1", over, "").await, Ok(Put::Done(digest(""))));
    assert_eq!(one.write("a/1", over, "x").await, Ok(Put::Overtaken));
    let kept = one.read("a/1").await.unwrap().unwrap();
    assert_eq!((kept.digest, kept.text.as_str()), (digest(""), ""));

    for name in ["a/2", "a0", "b"] {
        one.write(name, None, name).await.unwrap();
    }
    let names = two.list("a/").await.unwrap();
    assert_eq!(names, ["a/1", "a/2"]);
    for _ in 0..2 {
        assert_eq!(one.delete("a/1").await, Ok(()));
        assert_eq!(two.read("a/1").await, Ok(None));
    }
    assert_eq!(two.write("a/1", over, "x").await, Ok(Put::Overtaken));
}

#[tokio::test]
async fn memory_is_a_shelf() {
    let shelf = MemoryShelf::default();
    keeps_its_word(&shelf, &shelf.clone()).await;
}
