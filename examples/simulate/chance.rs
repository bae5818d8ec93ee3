//! Chance from a seed: splitmix64. Same seed, same draws, on every machine.

#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike.
        let mut chance = Self(seed ^ 0x6c6f_636b_7374_6570);
        chance.draw();
        chance
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and without, `n`; 0 for 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // The bias of a remainder is far below what a simulation could notice.
        self.draw().checked_rem(n).unwrap_or(0)
    }

    /// The same for choosing among so many.
    pub(crate) fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(u64::try_from(n).unwrap_or(u64::MAX))).unwrap_or(0)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Whether something happens that happens in so many of a thousand cases.
    pub(crate) fn of_1000(&mut self, cases: u64) -> bool {
        cases > 0 && self.below(1000) < cases
    }
}
