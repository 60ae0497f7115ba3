//! The word that a wrong word was meant to be.

use strsim::damerau_levenshtein;

/// Returns the word of `words` that is nearest to `wrong`, if it is near enough: if a third of
/// its letters differ at most, or if one of the two is the beginning of the other.
pub fn nearest<'a>(wrong: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A wrong word can be of any length, and the comparison takes time for each letter.
    const LONGEST: usize = 100;
    if wrong.len() > LONGEST {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let near = words.into_iter().filter_map(|word| {
        let lower = word.to_lowercase();
        let distance = damerau_levenshtein(&wrong, &lower);
        let is_beginning = wrong.len() >= 4 && lower.starts_with(&wrong)
            || lower.len() >= 4 && wrong.starts_with(&lower);
        let length = wrong.chars().count().max(lower.chars().count());
        (is_beginning || distance * 3 <= length).then_some((distance, word))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_no_others() {
        let options = ["bind", "log-rate", "cps", "workers", "concurrency", "cpu-time"];
        for (wrong, right) in [
            ("bund", Some("bind")),
            ("worker", Some("workers")),
            ("cpu_time", Some("cpu-time")),
            ("cputime", Some("cpu-time")),
            ("concurency", Some("concurrency")),
            ("LOG-RATE", Some("log-rate")),
            ("port", None),
            ("host", None),
            ("verbose", None),
            ("c", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, options), right, "{wrong}");
        }
        let words = ["sync", "threading", "forking"];
        assert_eq!(nearest("thread", words), Some("threading"));
        assert_eq!(nearest("fork", words), Some("forking"));
        assert_eq!(nearest("async", words), Some("sync"));
        assert_eq!(nearest("green", words), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), words), None);
    }
}
