//! Good and bad answers in a row, and when they turn a verdict.

/// What a new answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// As before.
    None,
    /// It is well from now on.
    Up,
    /// It is not well from now on.
    Down,
}

/// Whether a backend is well, by answers in a row.
#[derive(Clone, Debug)]
pub(super) struct Streak {
    rise: u32,
    fall: u32,
    /// `None` before the first answer, which decides alone.
    up: Option<bool>,
    /// Answers in a row that speak against `up`.
    against: u32,
    /// Whether an answer has ever settled it.
    told: bool,
}

impl Streak {
    /// It counts as well until `fall` bad answers; a first good one is told all the same.
    pub(super) fn up(rise: u32, fall: u32) -> Self {
        Streak { rise, fall, up: Some(true), against: 0, told: false }
    }

    /// It counts as not well until `rise` good answers.
    pub(super) fn down(rise: u32, fall: u32) -> Self {
        Streak { rise, fall, up: Some(false), against: 0, told: true }
    }

    /// The first answer decides alone.
    pub(super) fn undecided(rise: u32, fall: u32) -> Self {
        Streak { rise, fall, up: None, against: 0, told: false }
    }

    /// Whether the last answers agree that it is well.
    pub(super) fn is_settled_up(&self) -> bool {
        self.up == Some(true) && self.against == 0
    }

    /// Takes an answer in.
    pub(super) fn record(&mut self, good: bool) -> Turn {
        let needed = match self.up {
            None => 1,
            Some(true) => self.fall,
            Some(false) => self.rise,
        };
        let agrees = self.up == Some(good);
        self.against = if agrees { 0 } else { self.against + 1 };
        if (agrees && self.told) || (!agrees && self.against < needed) {
            return Turn::None;
        }
        (self.up, self.against, self.told) = (Some(good), 0, true);
        if good { Turn::Up } else { Turn::Down }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as `+` and `-`; verdicts as `U` and `D`, and `.` where nothing turns.
    #[track_caller]
    fn check(mut streak: Streak, answers: &str, verdicts: &str) {
        let turns = answers.chars().map(|answer| match streak.record(answer == '+') {
            Turn::None => '.',
            Turn::Up => 'U',
            Turn::Down => 'D',
        });
        assert_eq!(turns.collect::<String>(), verdicts, "{answers}");
    }

    #[test]
    fn answers_in_a_row_turn_the_verdict() {
        check(Streak::up(2, 3), "+++", "U..");
        check(Streak::up(2, 3), "---", "..D");
        check(Streak::up(2, 3), "--+--+---", "..U.....D");
        check(Streak::up(2, 3), "----+-++", "..D....U");
        check(Streak::up(1, 1), "-+-+", "DUDU");
        check(Streak::down(2, 3), "-++", "..U");
        check(Streak::undecided(2, 3), "+---", "U..D");
        check(Streak::undecided(2, 3), "-+-++", "D...U");
    }

    #[test]
    fn it_is_settled_while_nothing_speaks_against_it() {
        let mut streak = Streak::up(2, 2);
        let settled: Vec<_> = [true, false, true, false, false, true, true]
            .map(|good| {
                streak.record(good);
                streak.is_settled_up()
            })
            .into();
        assert_eq!(settled, [true, false, true, false, false, false, true]);
        assert!(!Streak::undecided(1, 1).is_settled_up());
    }
}
