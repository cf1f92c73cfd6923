//! The reloads that there were.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::metrics::lock;
use crate::times::unix;

/// How many are remembered.
const KEPT: usize = 20;

/// How many changes of one are.
const CHANGES: usize = 200;

/// The last of them, the youngest first.
#[derive(Default)]
pub(super) struct Reloads(Mutex<VecDeque<Reload>>);

struct Reload {
    at: SystemTime,
    /// What changed, or why nothing did.
    result: Result<Vec<String>, String>,
}

impl Reloads {
    pub(super) fn note(&self, mut result: Result<Vec<String>, String>) {
        if let Ok(changes) = &mut result
            && changes.len() > CHANGES
        {
            let more = changes.len() - CHANGES;
            changes.truncate(CHANGES);
            changes.push(format!("and {more} more"));
        }
        let mut kept = lock(&self.0);
        kept.truncate(KEPT - 1);
        kept.push_front(Reload { at: SystemTime::now(), result });
    }

    pub(super) fn all(&self) -> Value {
        lock(&self.0).iter().map(Reload::json).collect()
    }

    pub(super) fn last(&self) -> Value {
        lock(&self.0).front().map_or(Value::Null, Reload::json)
    }
}

impl Reload {
    fn json(&self) -> Value {
        let (changes, error) = match &self.result {
            Ok(changes) => (&changes[..], None),
            Err(error) => (&[][..], Some(error)),
        };
        json!({ "time": unix(self.at), "changes": changes, "error": error })
    }
}
