//! Divides one budget among all who share it.

/// What one of those who share a budget wants of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claim {
    /// Below this it can't work.
    pub floor: u64,
    /// Its part of what is left once every floor is met, against the others' weights.
    pub weight: u32,
}

/// A total, divided. Floors come first: where they alone exceed the total each claim gets its floor all the same, and
/// [`is_overdrawn`](Self::is_overdrawn) says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    total: u64,
    parts: Vec<u64>,
}

impl Plan {
    /// Divides `total` over `claims`. What rounding leaves over stays unspent.
    pub fn divide(total: u64, claims: &[Claim]) -> Self {
        let floors = claims.iter().fold(0_u64, |sum, claim| sum.saturating_add(claim.floor));
        let spare = u128::from(total.saturating_sub(floors));
        let weights: u128 = claims.iter().map(|claim| u128::from(claim.weight)).sum();
        let part = |claim: &Claim| {
            let extra = (spare * u128::from(claim.weight)).checked_div(weights).unwrap_or(0);
            // No more than `spare`, which came from a u64.
            claim.floor.saturating_add(u64::try_from(extra).unwrap_or(u64::MAX))
        };
        Self {
            total,
            parts: claims.iter().map(part).collect(),
        }
    }

    /// What each claim gets, in the order they were given.
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

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        prop::collection::vec((0_u64..1 << 40, any::<u32>()), 0..40)
            .prop_map(|all| all.into_iter().map(|(floor, weight)| Claim { floor, weight }).collect())
    }

    proptest! {
        #[test]
        fn parts_never_sum_above_the_total_while_floors_allow(total: u64, claims in claims()) {
            let plan = Plan::divide(total, &claims);
            let floors: u64 = claims.iter().map(|claim| claim.floor).sum();
            let sum: u128 = plan.parts().iter().map(|part| u128::from(*part)).sum();
            prop_assert!(sum <= u128::from(total.max(floors)));
            prop_assert_eq!(plan.is_overdrawn(), floors > total);
        }

        #[test]
        fn nobody_gets_less_than_its_floor(total: u64, claims in claims()) {
            let plan = Plan::divide(total, &claims);
            prop_assert_eq!(plan.parts().len(), claims.len());
            prop_assert!(plan.parts().iter().zip(&claims).all(|(part, claim)| *part >= claim.floor));
        }

        #[test]
        fn equal_shares_leave_less_than_one_each_unspent(total: u64, count in 1_u64..40, weight in 1_u32..) {
            let plan = Plan::divide(total, &vec![Claim { floor: 0, weight }; usize::try_from(count).expect("small")]);
            prop_assert!(total - plan.parts().iter().sum::<u64>() < count);
        }
    }

    #[test]
    fn nothing_to_divide_and_nobody_to_share_are_fine() {
        assert_eq!(Plan::divide(0, &[Claim::default(); 2]).parts(), [0, 0]);
        assert_eq!(Plan::divide(9, &[]).parts(), [0; 0]);
    }
}
