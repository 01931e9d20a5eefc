//! Which of a machine's interfaces an operator's rules allow: `eth*` allows, `!docker*` forbids.

/// Whether `rules` allow an interface: none forbids it, and one allows it where any allows something.
pub fn is_allowed(rules: &[String], interface: &str) -> bool {
    let forbidden = rules.iter().filter_map(|rule| rule.strip_prefix('!'));
    let mut allowed = rules.iter().filter(|rule| !rule.starts_with('!')).peekable();
    let is_open = allowed.peek().is_none();
    !forbidden.into_iter().any(|rule| matches(rule, interface))
        && (is_open || allowed.any(|rule| matches(rule, interface)))
}

/// Whether `name` is as `pattern` says, whose `*` stands for any characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((front, rest)) => name.strip_prefix(front).is_some_and(|name| {
            let mut starts = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            starts.any(|at| matches(rest, &name[at..]))
        }),
    }
}

/// Of the rules that allow something, those that no interface of `present` is as they say.
pub fn idle<'a>(rules: &'a [String], present: &[String]) -> Vec<&'a str> {
    let allowing = rules.iter().filter(|rule| !rule.starts_with('!'));
    let idle = allowing.filter(|rule| !present.iter().any(|name| matches(rule, name)));
    idle.map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_any_characters() {
        for (pattern, name, fits) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("eth*", "eth", true),
            ("*", "", true),
            ("*.5", "vlan.15", false),
            ("v*.5", "vlan.1.5", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn rule_that_allows_no_interface_is_idle() {
        let rules = ["eth9", "eth*", "!docker*", "wl*"].map(str::to_owned);
        let present = ["lo", "eth0"].map(str::to_owned);
        assert_eq!(idle(&rules, &present), ["eth9", "wl*"]);
    }
}
