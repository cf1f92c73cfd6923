/// How many bytes reached each side of a relay.
///
/// A byte counts once the destination has taken it. Bytes that were read and then lost because
/// the relay ended early are not in here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// Bytes read from the first side and taken by the second.
    pub a_to_b: u64,
    /// Bytes read from the second side and taken by the first.
    pub b_to_a: u64,
}

impl Transferred {
    /// Bytes of both directions together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.a_to_b.saturating_add(self.b_to_a)
    }
}
