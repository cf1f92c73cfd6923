//! "Did you mean …?"

/// Appends the nearest candidate to `problem`, or all of them when none is near and they are few.
pub(crate) fn suggest<'a>(problem: &str, given: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(given, candidates.clone()) {
        Some(near) => format!("{problem}; did you mean {near:?}?"),
        None => match any_of(candidates) {
            Some(list) => format!("{problem}; expected {list}"),
            None => problem.to_owned(),
        },
    }
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`; nothing when there are none or too many to read.
pub(crate) fn any_of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    const READABLE: usize = 20;
    let count = names.clone().take(READABLE + 1).count();
    if count == 0 || count > READABLE {
        return None;
    }
    let mut text = String::new();
    for (index, name) in names.enumerate() {
        text += match index {
            0 => "",
            last if last + 1 == count => " or ",
            _ => ", ",
        };
        text += &format!("{name:?}");
    }
    Some(text)
}

/// The candidate that a slip of the fingers turns into `given`.
fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Edit distance costs the product of the lengths, and no name of ours is this long.
    const LONGEST: usize = 64;
    if given.len() > LONGEST {
        return None;
    }
    let folded = given.to_lowercase();
    // A third of the letters may be wrong: "apii" finds "api", "db" does not find "api".
    let tolerated = given.chars().count().div_ceil(3);
    candidates
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_lists_otherwise() {
        let check = |given, expected: &str| {
            assert_eq!(suggest("no", given, ["api", "canary"].into_iter()), expected);
        };
        check("apii", r#"no; did you mean "api"?"#);
        check("Canray", r#"no; did you mean "canary"?"#);
        check("db", r#"no; expected "api" or "canary""#);
        assert_eq!(suggest("no", "x", std::iter::empty()), "no");
        assert_eq!(any_of(["a", "b", "c"].into_iter()).as_deref(), Some(r#""a", "b" or "c""#));
    }
}
