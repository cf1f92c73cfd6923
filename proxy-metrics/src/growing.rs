//! A table that grows while it is read.

use std::sync::OnceLock;

/// Values at numbers from 0 on, made when they are first asked for, read without a lock. Segment `n` has
/// 2^n places, so a small table stays small.
pub(crate) struct Growing<T>([OnceLock<Box<[OnceLock<T>]>>; SEGMENTS]);

/// Room for 65,535 values; what lies beyond shares the last place.
const SEGMENTS: usize = 16;

const LAST: usize = (1 << SEGMENTS) - 2;

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Growing(std::array::from_fn(|_| OnceLock::new()))
    }
}

impl<T> Growing<T> {
    /// The value at `index`.
    pub(crate) fn at(&self, index: usize, make: impl FnOnce() -> T) -> &T {
        let place = index.min(LAST) + 1;
        let segment = place.ilog2() as usize;
        let places = self.0[segment].get_or_init(|| (0..1usize << segment).map(|_| OnceLock::new()).collect());
        places[place - (1 << segment)].get_or_init(make)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_own_value() {
        let table = Growing::default();
        let numbers = [0, 1, 2, 3, 6, 7, 8, 1000, LAST];
        for number in numbers {
            assert_eq!(*table.at(number, || number), number);
        }
        for number in numbers {
            assert_eq!(*table.at(number, || usize::MAX), number);
        }
        assert_eq!(*table.at(LAST + 5, || 0), LAST);
    }
}
