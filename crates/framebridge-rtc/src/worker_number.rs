//! Which worker has a viewer: its ufrag says so, so that a check finds it wherever it arrives.

/// The front of a worker's ufrags: its number in two hexadecimal digits.
pub(crate) fn ufrag_prefix(worker: usize) -> String {
    format!("{worker:02x}")
}

/// The worker whose viewer has this ufrag.
pub(crate) fn worker_of(ufrag: &str) -> Option<usize> {
    usize::from_str_radix(ufrag.get(..2)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ufrag_leads_to_its_worker() {
        for worker in [0, 9, 63] {
            assert_eq!(worker_of(&format!("{}abcd", ufrag_prefix(worker))), Some(worker));
        }
        for stranger in ["", "x", "zzzz", "\u{e9}abc"] {
            assert_eq!(worker_of(stranger), None, "{stranger}");
        }
    }
}
