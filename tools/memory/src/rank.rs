//! Which notes fit some words best.

use crate::note::{Key, Note};

/// A word of the key says what the note is about, a tag was chosen to find it by, and a word of the
/// text may stand there by chance.
const KEY_POINTS: usize = 4;
const TAG_POINTS: usize = 3;
const TEXT_POINTS: usize = 1;

/// The notes that have at least one of the words, the best first and equals by key.
pub(crate) fn best<'a>(
    words: &str,
    notes: &'a [(Key, Note)],
    notes_max: usize,
) -> Vec<(&'a Key, &'a Note)> {
    let words: Vec<String> = words_of(words).collect();
    let mut ranked: Vec<(usize, &Key, &Note)> = notes
        .iter()
        .map(|(key, note)| (points(&words, key, note), key, note))
        .filter(|(points, ..)| *points > 0)
        .collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    ranked.into_iter().take(notes_max).map(|(_, key, note)| (key, note)).collect()
}

/// A word counts once per place, however often it stands there: long notes would win otherwise.
fn points(words: &[String], key: &Key, note: &Note) -> usize {
    let tags = note.tags.join(" ");
    let places = [(key.as_str(), KEY_POINTS), (&tags, TAG_POINTS), (&note.text, TEXT_POINTS)];
    places
        .into_iter()
        .map(|(place, points)| {
            let there: Vec<String> = words_of(place).collect();
            // The beginning of a word is enough: `config` finds `configuration`.
            let found =
                words.iter().filter(|word| there.iter().any(|found| found.starts_with(*word)));
            found.count() * points
        })
        .sum()
}

fn words_of(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_best_comes_first() {
        let note = |key: &str, text: &str, tags: &[&str]| {
            let tags = tags.iter().map(ToString::to_string).collect();
            (
                Key::new(key.to_owned()).expect("a key"),
                Note::new(text.to_owned(), tags).expect("a note"),
            )
        };
        let notes = [
            note("user/city", "Lives in Potsdam.", &["home"]),
            note("user/work", "Works in the city of Berlin, city centre.", &[]),
            note("deploy", "Configuration is in Berlin.", &["city", "production"]),
        ];
        let check = |words: &str, notes_max: usize, expected: &[&str]| {
            let found: Vec<_> =
                best(words, &notes, notes_max).into_iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(found, expected, "{words}");
        };
        check("city", 9, &["user/city", "deploy", "user/work"]);
        check("CITY", 1, &["user/city"]);
        check("berlin", 9, &["deploy", "user/work"]);
        check("berlin production", 9, &["deploy", "user/work"]);
        check("config", 9, &["deploy"]);
        check("user home", 9, &["user/city", "user/work"]);
        check("tokyo", 9, &[]);
        check("", 9, &[]);
    }
}
