//! What somebody may have meant who wrote a name that nobody has.

/// How many letters of three may be wrong: `lissten` is near to `listen`, `door` is not near to `desk`.
const LETTERS_PER_MISTAKE: usize = 3;

/// The one of `known` that is nearest to `word`, if any is near: up to a third of its letters added, left out, replaced or
/// swapped, whatever their case. One that `word` only begins, or that begins with it, is near as well.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = word.to_lowercase();
    let distance = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let mistakes = strsim::damerau_levenshtein(&written, &candidate);
        let begins = written.len() >= LETTERS_PER_MISTAKE && candidate.starts_with(&written);
        let allowed = written.chars().count().max(candidate.chars().count()) / LETTERS_PER_MISTAKE;
        (begins || mistakes <= allowed).then_some(mistakes)
    };
    let near = known.into_iter().filter(|candidate| *candidate != word);
    let near = near.filter_map(|candidate| Some((distance(candidate)?, candidate)));
    near.min().map(|(_, candidate)| candidate)
}

/// `; did you mean ...?`, or nothing where nothing is near.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_near_and_other_words_are_not() {
        let known = ["listen", "hosts", "origins", "encoder-desk", "encoder-door", "desk"];
        for (word, near) in [
            ("lissten", Some("listen")),
            ("lsiten", Some("listen")),
            ("LISTEN", Some("listen")),
            ("host", Some("hosts")),
            ("encoder-dsek", Some("encoder-desk")),
            ("dek", Some("desk")),
            ("listen", None),
            ("toaster", None),
            ("garage", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), near, "{word}");
        }
        assert_eq!(did_you_mean("orgins", known), "; did you mean `origins`?");
        assert_eq!(did_you_mean("garage", known), "");
    }
}
