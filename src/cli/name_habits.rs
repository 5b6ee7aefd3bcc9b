//! Expressions for the usual ways in which the names of one model differ: modules around it or its parts,
//! separators, and numbers of duplicates.

/// Attributes under which a module keeps the one that it wraps: `DistributedDataParallel` and
/// `DataParallel`, `torch.compile`, fully sharded and checkpointed modules of PyTorch 2.13, those of
/// before, and Lightning's.
const WRAPPERS: [&str; 7] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_fpw_module",
    "_flat_module",
    "_forward_module",
];

/// The expressions that undo the habits of the first names and then follow those of the second, in
/// order. Some may be wrong: a module may be called `module`.
pub fn expressions(first: &[&str], second: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    if first.iter().any(|name| is_numbered(name)) && !second.iter().any(|name| is_numbered(name)) {
        all.push(r"s/__\d+$//".to_owned());
    }
    let (own, other) = (separator(first), separator(second));
    let own = own.or(other).unwrap_or('.');
    let other = other.unwrap_or(own);
    let leading = leading_wrappers(first, own);
    if !leading.is_empty() {
        all.push(format!("s/^{}//", escaped(&leading)));
    }
    let has = |names: &[&str], separator: char, wrapper: &str| {
        let inner = |name: &&str| name.split(separator).any(|part| part == wrapper);
        names.iter().any(inner)
    };
    let rest: Vec<&str> = first
        .iter()
        .map(|name| name.strip_prefix(&leading).unwrap_or(name))
        .collect();
    let inner: Vec<&str> = WRAPPERS
        .into_iter()
        .filter(|wrapper| has(&rest, own, wrapper) && !has(second, other, wrapper))
        .collect();
    match inner.as_slice() {
        [] => {}
        [one] => all.push(format!(r"s/\b{one}{}//g", escaped(&own.to_string()))),
        several => all.push(format!(
            r"s/\b({}){}//g",
            several.join("|"),
            escaped(&own.to_string())
        )),
    }
    if own != other {
        let (own, other) = (own.to_string(), other.to_string());
        all.push(format!("s/{}/{}/g", escaped(&own), literal(&other)));
    }
    let leading = leading_wrappers(second, other);
    if !leading.is_empty() {
        all.push(format!("s/^/{}/", literal(&leading)));
    }
    all
}

/// Whether tch has numbered a name that was taken.
fn is_numbered(name: &str) -> bool {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    bare.len() < name.len() && bare.ends_with("__")
}

/// The most frequent character between the parts of names.
fn separator(names: &[&str]) -> Option<char> {
    let count = |separator: &char| {
        let all = names.iter().flat_map(|name| name.chars());
        all.filter(|c| c == separator).count()
    };
    let counts = ['.', '|', '/', ':', '-'].map(|c| (count(&c), c));
    let most = counts.iter().map(|(count, _)| *count).max()?;
    let found = counts.into_iter().find(|(count, _)| *count == most);
    found.filter(|(count, _)| *count > 0).map(|(_, c)| c)
}

/// The wrappers, each with a separator after it, that most names begin with.
fn leading_wrappers(names: &[&str], separator: char) -> String {
    let mut leading = String::new();
    loop {
        let next = WRAPPERS.into_iter().find(|wrapper| {
            let longer = format!("{leading}{wrapper}{separator}");
            let having = names.iter().filter(|name| name.starts_with(&longer));
            having.count() * 2 > names.len()
        });
        match next {
            Some(wrapper) => {
                leading.push_str(wrapper);
                leading.push(separator);
            }
            None => return leading,
        }
    }
}

/// A pattern that matches the text, within slashes.
pub fn escaped(text: &str) -> String {
    regex::escape(text).replace('/', r"\/")
}

/// A replacement that is the text, within slashes.
pub fn literal(text: &str) -> String {
    let mut replacement = String::new();
    for c in text.chars() {
        if matches!(c, '\\' | '&' | '/') {
            replacement.push('\\');
        }
        replacement.push(c);
    }
    replacement
}

#[cfg(test)]
mod tests {
    use super::expressions;

    #[test]
    fn each_habit_has_its_expression() {
        for (first, second, expected) in [
            (&["a.b", "c.d"][..], &["a.b", "c.d"][..], &[][..]),
            (
                &["a.weight", "a.weight__3"],
                &["a.weight"],
                &[r"s/__\d+$//"],
            ),
            (
                &["module|_orig_mod|a|b", "module|_orig_mod|c|d"],
                &["a.b"],
                &[r"s/^module\|_orig_mod\|//", r"s/\|/./g"],
            ),
            (
                &["a._fsdp_wrapped_module._orig_mod.b", "c"],
                &["a.b", "c"],
                &[r"s/\b(_orig_mod|_fsdp_wrapped_module)\.//g"],
            ),
            // A module that is called so on both sides.
            (&["a.module.b"], &["a.module.c"], &[]),
            (&["a.b"], &["module/a/b"], &[r"s/\./\//g", r"s/^/module\//"]),
        ] {
            assert_eq!(expressions(first, second), expected, "{first:?}");
        }
    }
}
