//! What plugins keep about a backend.

use std::any::Any;
use std::sync::OnceLock;

/// A list that only grows, read without a lock.
#[derive(Default)]
pub(super) struct Attached(OnceLock<Box<Node>>);

struct Node {
    value: Box<dyn Any + Send + Sync>,
    next: Attached,
}

impl Attached {
    /// The first value of this type that is `mine`, or a new one at the end.
    pub(super) fn get<T: Send + Sync + 'static>(&self, mine: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &T {
        let (mut at, mut make) = (self, Some(make));
        loop {
            let node = at.0.get_or_init(|| {
                let made: Box<dyn Any + Send + Sync> = match make.take() {
                    Some(make) => Box::new(make()),
                    None => Box::new(()), // not reached: a place that was filled here is the last to be looked at
                };
                Box::new(Node { value: made, next: Attached::default() })
            });
            match node.value.downcast_ref::<T>() {
                // What was made here is taken, whatever `mine` says of it.
                Some(value) if make.is_none() || mine(value) => return value,
                _ => at = &node.next,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_and_each_owner_has_its_own() {
        let attached = Attached::default();
        let of = |owner: u8| *attached.get(move |it: &(u8, u32)| it.0 == owner, move || (owner, u32::from(owner) * 10));
        assert_eq!((of(1), of(2), of(1)), ((1, 10), (2, 20), (1, 10)));
        assert_eq!(attached.get(|_: &&str| true, || "other"), &"other");
        assert_eq!(of(2), (2, 20));
        // Refusing what it made itself does not go round for ever.
        assert_eq!(attached.get(|_: &u64| false, || 7), &7);
    }
}
