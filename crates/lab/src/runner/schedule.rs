//! The order of the turns.

/// Returns the order of the contenders in a round: shuffled by the seed, and reversed in every other round
/// (ABBA). A drift of the machine then affects all contenders equally.
pub(super) fn order_of_round(contenders: usize, round: u32, seed: u64) -> Vec<usize> {
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
    fn the_order_is_reversed_in_every_other_round() {
        for seed in 0..10 {
            let (first, second) = (order_of_round(7, 0, seed), order_of_round(7, 1, seed));
            assert_eq!(first, order_of_round(7, 2, seed));
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
    fn another_seed_gives_another_order() {
        assert!((1..10).any(|seed| order_of_round(7, 0, seed) != order_of_round(7, 0, 0)));
    }
}
