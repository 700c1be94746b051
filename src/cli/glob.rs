//! Patterns for names: `*`, `?` and `[a-z]`, none of which fits a slash (Go's path.Match, as Docker uses it).

/// Whether `text` fits `pattern`; a pattern that is malformed fits nothing.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut place) = (0, 0);
    // Where the last star was, and what it was tried for last.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let next = match pattern.get(at) {
            None if place == text.len() => return true,
            Some('*') => {
                star = Some((at, place));
                at += 1;
                continue;
            }
            Some(_) => one(&pattern, at, text.get(place).copied()),
            None => None,
        };
        match (next, star) {
            (Some(next), _) => (at, place) = (next, place + 1),
            (None, Some((after, tried))) if text.get(tried).is_some_and(|character| *character != '/') => {
                star = Some((after, tried + 1));
                (at, place) = (after + 1, tried + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Where the pattern goes on if what stands at `at` fits this character.
fn one(pattern: &[char], at: usize, character: Option<char>) -> Option<usize> {
    let character = character?;
    match pattern.get(at)? {
        '?' => (character != '/').then_some(at + 1),
        '[' => {
            let negated = pattern.get(at + 1) == Some(&'^');
            let mut place = if negated { at + 2 } else { at + 1 };
            let mut found = false;
            loop {
                let low = *pattern.get(place)?;
                if low == ']' {
                    return (found != negated && character != '/').then_some(place + 1);
                }
                let range = pattern.get(place + 1) == Some(&'-');
                let high = if range { *pattern.get(place + 2)? } else { low };
                found |= (low..=high).contains(&character);
                place += if range { 3 } else { 1 };
            }
        }
        '\\' => (*pattern.get(at + 1)? == character).then_some(at + 2),
        plain => (*plain == character).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_fit_as_go_has_them_fit() {
        for (pattern, text) in [
            ("busybox", "busybox"),
            ("busy*", "busybox"),
            ("*:latest", "busybox:latest"),
            ("*/*:1.?", "example.org/app:1.2"),
            ("b*s*x", "busybusyx"),
            ("[a-c]usybox", "busybox"),
            ("[^a]usybox", "busybox"),
            ("a\\*b", "a*b"),
            ("*", ""),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("busy", "busybox"),
            ("*", "example.org/app"),
            ("?", "/"),
            ("[a", "a"),
            ("[^b]usybox", "busybox"),
            ("b*x", "busyboy"),
            ("", "a"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
