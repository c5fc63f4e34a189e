//! Whose turn it is.

/// The order of a round: a shuffle by the seed, turned round in every other round (ABBA), so that
/// what drifts meets everyone alike.
pub(super) fn round(contenders: usize, round: u32, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contenders).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_alternate_and_everyone_has_as_many_turns_in_the_same_mean_place() {
        for seed in 0..10 {
            let (first, second) = (round(7, 0, seed), round(7, 1, seed));
            assert_eq!(first, round(7, 2, seed));
            assert!(first.iter().rev().eq(&second));
            for contender in 0..7 {
                let place = |order: &[usize]| order.iter().position(|one| *one == contender);
                assert_eq!(
                    place(&first).zip(place(&second)).map(|(a, b)| a + b),
                    Some(6)
                );
            }
        }
    }

    #[test]
    fn another_seed_gives_other_neighbours() {
        assert!((1..10).any(|seed| round(7, 0, seed) != round(7, 0, 0)));
    }
}
