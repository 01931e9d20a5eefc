//! How one budget is divided over whatever is running.

/// What one of those who share a budget wants of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Below this it can't work.
    pub floor: u64,
    /// Its part of what is left once every floor is met, against the others' weights.
    pub weight: u32,
}

/// A total, divided. Floors come first: where they alone exceed the total each share gets its floor all the same, and
/// [`is_overdrawn`](Self::is_overdrawn) says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetPlan {
    total: u64,
    parts: Vec<u64>,
}

impl BudgetPlan {
    /// Divides `total` over `shares`. What rounding leaves over stays unspent.
    pub fn divide(total: u64, shares: &[Share]) -> Self {
        let floors = shares.iter().fold(0_u64, |sum, share| sum.saturating_add(share.floor));
        let spare = u128::from(total.saturating_sub(floors));
        let weights: u128 = shares.iter().map(|share| u128::from(share.weight)).sum();
        let part = |share: &Share| {
            let extra = (spare * u128::from(share.weight)).checked_div(weights).unwrap_or(0);
            // No more than `spare`, which came from a u64.
            share.floor.saturating_add(u64::try_from(extra).unwrap_or(u64::MAX))
        };
        Self {
            total,
            parts: shares.iter().map(part).collect(),
        }
    }

    /// What each share gets, in the order they were given.
    pub fn parts(&self) -> &[u64] {
        &self.parts
    }

    /// Whether the floors alone are more than there is.
    pub fn is_overdrawn(&self) -> bool {
        self.parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part)) > self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares() -> impl Strategy<Value = Vec<Share>> {
        prop::collection::vec((0_u64..1 << 40, any::<u32>()), 0..40)
            .prop_map(|all| all.into_iter().map(|(floor, weight)| Share { floor, weight }).collect())
    }

    proptest! {
        #[test]
        fn parts_never_sum_above_the_total_while_floors_allow(total: u64, shares in shares()) {
            let plan = BudgetPlan::divide(total, &shares);
            let floors: u64 = shares.iter().map(|share| share.floor).sum();
            let sum: u128 = plan.parts().iter().map(|part| u128::from(*part)).sum();
            prop_assert!(sum <= u128::from(total.max(floors)));
            prop_assert_eq!(plan.is_overdrawn(), floors > total);
        }

        #[test]
        fn nobody_gets_less_than_its_floor(total: u64, shares in shares()) {
            let plan = BudgetPlan::divide(total, &shares);
            prop_assert_eq!(plan.parts().len(), shares.len());
            prop_assert!(plan.parts().iter().zip(&shares).all(|(part, share)| *part >= share.floor));
        }

        #[test]
        fn equal_shares_leave_less_than_one_each_unspent(total: u64, count in 1_u64..40, weight in 1_u32..) {
            let plan = BudgetPlan::divide(total, &vec![Share { floor: 0, weight }; usize::try_from(count).expect("small")]);
            prop_assert!(total - plan.parts().iter().sum::<u64>() < count);
        }
    }

    #[test]
    fn nothing_to_divide_and_nobody_to_share_are_fine() {
        assert_eq!(BudgetPlan::divide(0, &[Share::default(); 2]).parts(), [0, 0]);
        assert_eq!(BudgetPlan::divide(9, &[]).parts(), [0; 0]);
    }
}
