//! SPDX expressions, as far as manifests use them: `OR`, `AND`, `WITH`, brackets, and the `/` of
//! old manifests, which means `OR`.

/// Whether the expression can be met with the allowed licences alone; an error says what about it
/// cannot be read.
pub(super) fn allows(expression: &str, allowed: &[&str]) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed)?;
    match words.next() {
        None => Ok(met),
        Some(word) => Err(format!("`{word}` is where it should end")),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[&str]) -> Result<bool, String> {
    let mut met = all(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        // Both sides are read, whatever the first one said.
        met |= all(words, allowed)?;
    }
    Ok(met)
}

fn all(words: &mut Words<'_>, allowed: &[&str]) -> Result<bool, String> {
    let mut met = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed)?;
    }
    Ok(met)
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> Result<bool, String> {
    let mut name = match words.next() {
        Some("(") => {
            let met = any(words, allowed)?;
            return match words.next() {
                Some(")") => Ok(met),
                _ => Err("a bracket is not closed".to_owned()),
            };
        }
        None | Some(")" | "OR" | "AND" | "WITH") => return Err("a licence is missing".to_owned()),
        Some(name) => name.to_owned(),
    };
    if words.next_if_eq(&"WITH").is_some() {
        let exception = words.next().ok_or("an exception is missing")?;
        name = format!("{name} WITH {exception}");
    }
    Ok(allowed.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"];
        for (expression, expected) in [
            ("MIT", Ok(true)),
            ("GPL-3.0", Ok(false)),
            ("MIT/GPL-3.0", Ok(true)),
            ("GPL-3.0 OR MIT", Ok(true)),
            ("MIT AND GPL-3.0", Ok(false)),
            ("MIT OR GPL-3.0 AND GPL-2.0", Ok(true)),
            ("(MIT OR GPL-3.0) AND GPL-2.0", Ok(false)),
            ("(MIT OR GPL-3.0) AND Apache-2.0", Ok(true)),
            ("Apache-2.0 WITH LLVM-exception", Ok(true)),
            ("MIT WITH LLVM-exception", Ok(false)),
            ("", Err(())),
            ("MIT OR", Err(())),
            ("(MIT", Err(())),
            ("MIT Apache-2.0", Err(())),
        ] {
            assert_eq!(allows(expression, &allowed).map_err(drop), expected, "{expression}");
        }
    }
}
