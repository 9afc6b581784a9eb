//! Takes out of an output what differs between two runs: ids, digests, times, sizes, dates.

/// `text` with a word in the place of each. In a line that has one, single spaces stand for several,
/// since a column is as wide as its numbers.
pub(crate) fn redact(text: &str) -> String {
    text.lines().map(|line| redact_line(line) + "\n").collect()
}

fn redact_line(line: &str) -> String {
    let indent: String = line.chars().take_while(|character| *character == ' ').collect();
    let mut words: Vec<String> = vec![];
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let (bare, comma) = match word.strip_suffix([',', ':', ')', '`']) {
            Some(bare) => (bare, &word[bare.len()..]),
            None => (word, ""),
        };
        let previous = words.last().map(String::as_str);
        let shown = match bare {
            "µs" | "ms" | "s" if previous == Some("N") => Some("TIME"),
            "B" | "KiB" | "MiB" if previous == Some("N") => Some("SIZE"),
            "tokens" if previous == Some("N") => Some("TOKENS"),
            _ => None,
        };
        if let Some(shown) = shown {
            words.pop();
            words.push(format!("{shown}{comma}"));
        } else {
            words.push(format!("{}{comma}", redact_word(bare)));
        }
    }
    // What is counted and not measured is the same each time.
    let redacted = restore_counts(line, indent + &words.join(" "));
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if squeezed(&redacted) == squeezed(line) { line.to_owned() } else { redacted }
}

fn redact_word(word: &str) -> String {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some((_, digest)) = word.split_once("sha256:")
        && hex(digest.trim_end_matches(['"', ')']))
    {
        return word.replace(digest.trim_end_matches(['"', ')']), "…");
    }
    if (word.len() == 32 || word.len() == 12) && hex(word) {
        return "ID".to_owned();
    }
    if word.len() == 10 && word.starts_with("20") && word.matches('-').count() == 2 {
        return "DATE".to_owned();
    }
    if word.len() == 8 && word.matches(':').count() == 2 {
        return "CLOCK".to_owned();
    }
    let number = word.strip_suffix(['k', 'M', 'G']).unwrap_or(word);
    match number.parse::<f64>() {
        Ok(_) => "N".to_owned(),
        Err(_) => word.to_owned(),
    }
}

fn restore_counts(line: &str, redacted: String) -> String {
    let mut shown = redacted;
    let words: Vec<&str> = line.split_whitespace().collect();
    for pair in words.windows(2) {
        let thing = pair[1].trim_end_matches([',', ':', ')']);
        let counted = ["step", "call", "denial", "error", "warning", "difference", "times", "that"];
        if counted.contains(&thing.trim_end_matches('s')) && pair[0].parse::<u32>().is_ok() {
            shown = shown.replacen(&format!("N {thing}"), &format!("{} {thing}", pair[0]), 1);
        }
        if pair[0] == "step" && pair[1].parse::<u32>().is_ok() {
            shown = shown.replacen("step N", &format!("step {}", pair[1]), 1);
        }
    }
    shown
}
