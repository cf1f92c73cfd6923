//! The rules of CONTRIBUTING.md that a machine can hold, read off the tree itself.
//!
//! Rust files are read as tokens, so that comments and strings neither break a rule nor hide
//! a breach. Each test lists every breach as `file:line: what`.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Who may depend on whom. Packages without a row (`examples`, `tests`, …) are free.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("proxy-zerocopy", &[]),
    ("proxy-core", &["proxy-zerocopy"]),
    ("proxy-lb", &["proxy-core"]),
    ("proxy-ratelimit", &["proxy-core"]),
    ("proxy-metrics", &["proxy-core"]),
    ("proxy-forward", &["proxy-core"]),
    ("proxy-files", &["proxy-core"]),
    (
        "proxy-config",
        &[
            "proxy-zerocopy",
            "proxy-core",
            "proxy-lb",
            "proxy-ratelimit",
            "proxy-metrics",
            "proxy-forward",
            "proxy-files",
        ],
    ),
];

/// The only file with system calls that Rust cannot check.
const UNSAFE_FILE: &str = "proxy-zerocopy/src/sys.rs";

/// Beyond this a file holds more than one idea.
const MAX_LINES: usize = 600;

#[test]
fn no_sibling_depends_on_a_sibling() {
    let members = members();
    expect_none(members.iter().flat_map(|member| {
        let allowed = allowed_dependencies(member);
        dependencies(&manifest(member))
            .into_iter()
            .filter(|name| members.contains(name) && name != member)
            .filter(|name| allowed.is_some_and(|allowed| !allowed.contains(&name.as_str())))
            .map(|name| format!("{member}/Cargo.toml: depends on {name}"))
            .collect::<Vec<_>>()
    }));
}

#[test]
fn every_proxy_crate_has_a_row_in_the_dependency_table() {
    expect_none(members().iter().filter_map(|member| {
        let missing = member.starts_with("proxy-") && allowed_dependencies(member).is_none();
        missing.then(|| format!("{member}: not in MAY_DEPEND_ON"))
    }));
}

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    expect_none(members().into_iter().filter_map(|member| {
        let inherits = manifest(&member).contains("[lints]\nworkspace = true");
        (!inherits).then(|| format!("{member}/Cargo.toml: [lints] is not `workspace = true`"))
    }));
}

#[test]
fn every_member_is_explained_on_its_line() {
    expect_none(member_lines().into_iter().filter_map(|line| {
        let comment = line.split_once('#').map_or("", |(_, comment)| comment.trim());
        comment.is_empty().then(|| format!("Cargo.toml: no comment on `{line}`"))
    }));
}

#[test]
fn cargo_lock_is_in_the_repository() {
    assert!(root().join("Cargo.lock").is_file(), "Cargo.lock is missing");
    let ignored = read(&root().join(".gitignore")).contains("Cargo.lock");
    assert!(!ignored, "Cargo.lock is ignored");
}

#[test]
fn unsafe_lives_in_one_file() {
    each_source(|file| match file.path.as_str() {
        UNSAFE_FILE => vec![],
        _ => file.lines_of(&["unsafe"]),
    });
}

#[test]
fn modules_are_named_after_their_file() {
    each_source(|file| match file.name() {
        "mod.rs" => vec![1],
        _ => vec![],
    });
}

#[test]
fn imports_are_spelled_out() {
    each_source(|file| {
        let words = without_test_modules(&file.words);
        let imports = statements(&words, "use").into_iter();
        let globs = imports.filter(|import| import.iter().any(|word| word.text == "*"));
        match file.is_test() {
            true => vec![],
            false => globs.map(|import| import[0].line).collect(),
        }
    });
}

#[test]
fn lib_rs_is_documentation_modules_and_exports() {
    each_source(|file| match file.name() {
        "lib.rs" => other_than_modules_and_exports(&file.words),
        _ => vec![],
    });
}

#[test]
fn files_stay_short() {
    each_source(|file| {
        let lines = file.text.lines().count();
        match file.is_test() || lines <= MAX_LINES {
            true => vec![],
            false => vec![lines],
        }
    });
}

#[test]
fn time_comes_from_the_one_clock() {
    let path = ["std", ":", ":", "time", ":", ":", "Instant"];
    each_source(|file| match file.name() {
        "clock.rs" => vec![],
        _ => {
            let mut lines = file.lines_of(&path);
            lines.extend(grouped_std_imports_of(&file.words, "Instant"));
            lines
        }
    });
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TODO", "FIXME", "todo!", "unimplemented!"];
    each_source(|file| {
        let lines = file.text.lines().zip(1..);
        let marked = lines.filter(|(line, _)| marks.iter().any(|mark| line.contains(mark)));
        match file.path.as_str() {
            "tests/tests/shape.rs" => vec![], // names the marks
            _ => marked.map(|(_, number)| number).collect(),
        }
    });
}

#[test]
fn every_example_says_how_to_run_it() {
    expect_none(examples().into_iter().filter_map(|example| {
        let header = header(&example.text);
        let told = header.contains("Run") && header.contains("cargo run");
        (!told).then(|| format!("{}: no header with Run and `cargo run …`", example.path))
    }));
}

#[test]
fn every_example_is_tested() {
    let tests: Vec<_> = sources().into_iter().filter(Source::is_test).collect();
    expect_none(examples().into_iter().filter_map(|example| {
        let driven = !example.lines_of(&["fn", "app"]).is_empty();
        let named = tests.iter().any(|test| test.text.contains(example.stem()));
        (!driven && !named).then(|| format!("{}: no `fn app`, and no test names it", example.path))
    }));
}

/// The readers below are wrong in silence where a rule finds nothing: each is shown a breach.
#[test]
fn breaches_are_seen() {
    let grouped = "use std::{time::{Duration, Instant}};";
    let glob = "#[cfg(all(test, x))] #[y] mod tests { use super::*; } mod a { use b::*; }";
    let library = "//! Docs.\n#[macro_use]\nmod a;\npub use a::{B, C};\nfn f() {}";
    let manifest = "[dependencies]\na.workspace = true\nb = { package = \"c\" }\n\
                    [target.'cfg(unix)'.dev-dependencies]\nd = \"1\"\n[dependencies.e]\nx = 1";
    assert_eq!(grouped_std_imports_of(&words(grouped), "Instant"), [1]);
    assert_eq!(statements(&without_test_modules(&words(glob)), "use").len(), 1);
    assert_eq!(other_than_modules_and_exports(&words(library)), [5]);
    assert_eq!(dependencies(manifest), ["a", "c", "d", "e"]);
}

// The rules' form: what they say of each file, and how they fail.

/// Fails with `path:line` for every line that `breaches` finds in a source file.
#[track_caller]
fn each_source(breaches: impl Fn(&Source) -> Vec<usize>) {
    expect_none(sources().iter().flat_map(|file| {
        let lines = breaches(file).into_iter();
        lines.map(|line| format!("{}:{line}", file.path)).collect::<Vec<_>>()
    }));
}

#[track_caller]
fn expect_none(breaches: impl IntoIterator<Item = String>) {
    let breaches: Vec<_> = breaches.into_iter().collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

// The tree.

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests have a folder of their own").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A Rust file of a member.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
    words: Vec<Word>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = read(path);
        let path = path.strip_prefix(root()).expect("sources lie under the root");
        let words = words(&text);
        let path = path.to_string_lossy().replace('\\', "/");
        Self { path, text, words }
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// What cargo calls the example that this file is.
    fn stem(&self) -> &str {
        let path = self.path.trim_end_matches("/main.rs").trim_end_matches(".rs");
        path.rsplit('/').next().unwrap_or_default()
    }

    /// `tests/…` of a member, the member `tests`, and a module's `tests.rs`.
    fn is_test(&self) -> bool {
        self.name() == "tests.rs" || self.path.split('/').any(|part| part == "tests")
    }

    /// The lines on which `sequence` starts.
    fn lines_of(&self, sequence: &[&str]) -> Vec<usize> {
        let windows = self.words.windows(sequence.len());
        let hits = windows.filter(|window| window.iter().map(|w| &w.text).eq(sequence));
        hits.map(|window| window[0].line).collect()
    }
}

/// All Rust files of all members.
fn sources() -> Vec<Source> {
    let folders = members().into_iter().map(|member| root().join(member));
    let files = folders.flat_map(|folder| rust_files(&folder));
    files.map(|path| Source::read(&path)).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .flat_map(|path| match path.is_dir() {
            true if path.ends_with("target") => vec![],
            true => rust_files(&path),
            false => Some(path).filter(|path| path.extension().is_some_and(|e| e == "rs")).into_iter().collect(),
        })
        .collect()
}

/// The files that `cargo run --example` starts.
fn examples() -> Vec<Source> {
    let all = sources().into_iter();
    all.filter(|file| match file.path.strip_prefix("examples/examples/") {
        Some(rest) => !rest.contains('/') || rest.ends_with("/main.rs"),
        None => false,
    })
    .collect()
}

fn header(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//!")).collect()
}

// Manifests.

fn member_lines() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let lines = manifest.lines().skip_while(|line| !line.starts_with("members = ["));
    let inside = lines.skip(1).take_while(|line| !line.starts_with(']'));
    inside.map(|line| line.trim().to_owned()).collect()
}

fn members() -> Vec<String> {
    let lines = member_lines().into_iter();
    let names: Vec<_> = lines.filter_map(|line| quoted(&line)).collect();
    assert!(names.len() > 1, "Cargo.toml: members are not one to a line");
    names
}

fn quoted(line: &str) -> Option<String> {
    line.split('"').nth(1).map(str::to_owned)
}

fn manifest(member: &str) -> String {
    read(&root().join(member).join("Cargo.toml"))
}

fn allowed_dependencies(member: &str) -> Option<&'static [&'static str]> {
    let row = MAY_DEPEND_ON.iter().find(|(name, _)| *name == member);
    row.map(|(_, allowed)| *allowed)
}

/// The packages in every kind of dependency section, renamed ones under their real name.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            names.extend(section.split_once("dependencies.").map(|(_, name)| name.to_owned()));
        } else if section.ends_with("dependencies") {
            names.extend(dependency(line));
        }
    }
    names
}

fn dependency(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    let renamed = value.split_once("package").and_then(|(_, name)| quoted(name));
    let key = key.split('.').next().unwrap_or_default();
    renamed.or_else(|| Some(key.trim().trim_matches('"').to_owned()))
}

// Rust, as far as the rules need it.

/// One token. Strings are the word `""`, so that nothing is found in them.
#[derive(Clone)]
struct Word {
    text: String,
    line: usize,
}

fn words(text: &str) -> Vec<Word> {
    let tokens = TokenStream::from_str(text).expect("a source file consists of tokens");
    let mut words = Vec::new();
    flatten(tokens, &mut words);
    words
}

fn flatten(tokens: TokenStream, words: &mut Vec<Word>) {
    for token in tokens {
        let line = token.span().start().line;
        let mut push = |text: String| words.push(Word { text, line });
        match token {
            TokenTree::Literal(_) => push("\"\"".into()),
            TokenTree::Ident(ident) => push(ident.to_string()),
            TokenTree::Punct(punct) => push(punct.to_string()),
            TokenTree::Group(group) => {
                let (open, close) = delimiters(group.delimiter());
                push(open.into());
                flatten(group.stream(), words);
                words.push(Word { text: close.into(), line });
            }
        }
    }
}

fn delimiters(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::Parenthesis | Delimiter::None => ("(", ")"),
    }
}

/// How many words the group that opens at the first word takes.
fn group_length(words: &[Word]) -> usize {
    let mut depth = 0;
    let closes = words.iter().position(|word| {
        match word.text.as_str() {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    closes.map_or(words.len(), |last| last + 1)
}

fn starts_with(words: &[Word], start: &[&str]) -> bool {
    words.len() >= start.len() && words.iter().zip(start).all(|(word, text)| word.text == *text)
}

/// Leaves out each `#[cfg(test)] mod … { … }`.
fn without_test_modules(words: &[Word]) -> Vec<Word> {
    let mut kept = Vec::new();
    let mut rest = words;
    while !rest.is_empty() {
        match test_module(rest) {
            Some(length) => rest = &rest[length..],
            None => {
                kept.push(rest[0].clone());
                rest = &rest[1..];
            }
        }
    }
    kept
}

/// The length of the test module that starts at the first word, if one does: its condition is
/// `test` or `all(test, …)`, and other attributes may follow.
fn test_module(words: &[Word]) -> Option<usize> {
    let conditions: [&[&str]; 2] = [&["#", "[", "cfg", "(", "test", ")"], &["#", "[", "cfg", "(", "all", "(", "test"]];
    if !conditions.iter().any(|condition| starts_with(words, condition)) {
        return None;
    }
    let mut at = 0;
    while starts_with(&words[at..], &["#"]) {
        at += 1 + group_length(&words[at + 1..]);
    }
    let body = at + 2;
    let is_module = starts_with(&words[at..], &["mod"]) && starts_with(words.get(body..)?, &["{"]);
    is_module.then(|| body + group_length(&words[body..]))
}

/// From each `keyword` to its `;`. `use<…>` in a type is not a statement.
fn statements<'a>(words: &'a [Word], keyword: &str) -> Vec<&'a [Word]> {
    let starts = (0..words.len()).filter(|&at| words[at].text == keyword);
    let statements = starts.map(|at| words[at..].split(|word| word.text == ";").next());
    let found = statements.flatten();
    found.filter(|statement| !starts_with(&statement[1..], &["<"])).collect()
}

/// The lines of `use std::…{…}` that bring in `name`.
fn grouped_std_imports_of(words: &[Word], name: &str) -> Vec<usize> {
    let imports = statements(words, "use").into_iter();
    let from_std = imports.filter(|import| starts_with(&import[1..], &["std"]));
    let grouped = from_std.filter(|import| import.iter().any(|word| word.text == "{"));
    let named = grouped.filter(|import| import.iter().any(|word| word.text == name));
    named.map(|import| import[0].line).collect()
}

/// The first line that is neither an attribute nor `mod …;` nor `use …;`, public or not.
fn other_than_modules_and_exports(words: &[Word]) -> Vec<usize> {
    let mut rest = words;
    while let Some(length) = plain_item(rest) {
        rest = &rest[length..];
    }
    rest.first().map(|word| word.line).into_iter().collect()
}

/// The length of the attribute or item that `words` start with, if `lib.rs` may hold it.
fn plain_item(words: &[Word]) -> Option<usize> {
    let first = words.first()?.text.as_str();
    let second = words.get(1)?.text.as_str();
    match (first, second) {
        ("#", "!") => Some(2 + group_length(&words[2..])),
        ("#", _) => Some(1 + group_length(&words[1..])),
        ("pub", "(") => Some(1 + group_length(&words[1..])),
        ("pub", _) => Some(1),
        ("use", _) => words.iter().position(|word| word.text == ";").map(|end| end + 1),
        ("mod", _) if words.get(2)?.text == ";" => Some(3),
        _ => None,
    }
}
