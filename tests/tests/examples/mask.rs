//! What of an output is the same in every run: times, ids and costs are not.

/// Units of times and sizes, as the program writes them.
const UNITS: [&str; 8] = ["µs", "ms", "s", "min", "B", "KiB", "MiB", "events"];

/// The shortest run of hexadecimal digits that is taken for an id.
const ID_CHARS_MIN: usize = 12;

/// A text without what changes from run to run, its columns drawn together.
pub(crate) fn mask(text: &str) -> String {
    let lines = text.trim().lines();
    // Progress is told while a call runs: what of it comes before its end is chance.
    lines.filter(|line| !line.contains(" so far: ")).map(|line| mask_line(line) + "\n").collect()
}

fn mask_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    // Rows of tables begin at the margin, what is told of a call does not.
    let is_row = !line.starts_with(' ')
        && words.first().is_some_and(|first| *first == "all" || first.starts_with("r1.s"))
        && !words.iter().any(|word| ["→", "←"].contains(word));
    let mut shown: Vec<String> = vec![];
    for (at, word) in words.iter().enumerate() {
        let bare = word.trim_matches(|letter: char| ",:;()`".contains(letter));
        let after = words.get(at + 1).map(|next| next.trim_matches([',', ':', ';', ')']));
        let before = at.checked_sub(1).map(|before| words[before]);
        let is_cost = is_row || matches!(before, Some("fuel" | "work"));
        let measured = after.is_some_and(|next| UNITS.contains(&next));
        let changes = is_number(bare) && (is_cost || measured || bare.ends_with(['k', 'M', 'G']));
        let follows = UNITS.contains(&bare) && before.is_some_and(is_number);
        if follows {
            // The unit goes with its number: 900 µs and 1.1 ms are one thing here.
            continue;
        }
        shown.push(if changes || is_id(bare) || is_moment(bare) {
            word.replace(bare, "#")
        } else {
            (*word).to_owned()
        });
    }
    shown.join(" ")
}

fn is_number(word: &str) -> bool {
    let digits = word.trim_end_matches(['k', 'M', 'G']);
    digits.starts_with(|letter: char| letter.is_ascii_digit())
        && digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
}

fn is_id(word: &str) -> bool {
    word.len() >= ID_CHARS_MIN && word.chars().all(|letter| letter.is_ascii_hexdigit())
}

/// Such as `2026-12-01` and `09:30:00`.
fn is_moment(word: &str) -> bool {
    let parts: Vec<&str> = word.split(['-', ':']).collect();
    parts.len() == 3 && parts.iter().all(|part| part.len() >= 2 && is_number(part))
}

#[test]
fn what_changes_is_masked_and_nothing_else() {
    let check = |line, expected| assert_eq!(mask_line(line), expected);
    check(
        "done in 18.0 ms: 3 steps, fuel 18.6k, host work 132",
        "done in # 3 steps, fuel #, host work #",
    );
    check("r1.s1.c1  spin_spin  succeeded  0  6.2k  1.1 MiB", "r1.s1.c1 spin_spin succeeded # # #");
    check("  r1.s1.c1 ← succeeded, 629 µs: 10 turns", "r1.s1.c1 ← succeeded, # 10 turns");
    check("session 8ae712227b3633581159dce0d93aeeaa", "session #");
    check("reopens 2026-12-01 00:00:00 UTC", "reopens # # UTC");
    check("try 2 of 3, $0.001068 of $0.001", "try 2 of 3, $0.001068 of $0.001");
}
