//! Which locks exclude each other, for every store.

/// Whether two locks cannot be held at once: they have the same name, or one ends with `/*` and
/// the other is what it stands in front of, or anything below.
pub fn conflicts(one: &str, other: &str) -> bool {
    let covers = |wide: &str, name: &str| {
        wide.strip_suffix("/*").is_some_and(|prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    one == other || covers(one, other) || covers(other, one)
}

#[cfg(test)]
mod tests {
    use super::conflicts;

    #[test]
    fn a_wide_lock_conflicts_with_everything_below_in_both_directions() {
        for (one, other, expected) in [
            ("t/app/x/worker", "t/app/x/worker", true),
            ("t/app/x/worker", "t/app/x/web", false),
            ("t/app/x/*", "t/app/x/worker", true),
            ("t/app/x/*", "t/app/x/a/b", true),
            ("t/app/x/*", "t/app/x/*", true),
            ("t/app/x/*", "t/app/x", true),
            ("t/app/*", "t/app/x/*", true),
            ("t/app/x/*", "t/app/xy/worker", false),
            ("t/app/x/*", "t/app/xy", false),
            ("t/app/x/*", "t/app/y/*", false),
            ("t/app/x/*", "t/app", false),
            ("t/app/x*", "t/app/xy", false),
            ("t/app/x", "t/app/x/worker", false),
            ("/*", "anything", false),
            ("*", "anything", false),
            ("", "", true),
        ] {
            assert_eq!(conflicts(one, other), expected, "{one} {other}");
            assert_eq!(conflicts(other, one), expected, "{other} {one}");
        }
    }
}
