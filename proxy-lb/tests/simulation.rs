//! The comparison in the crate's documentation is what the bench prints.

#[path = "../benches/simulation.rs"]
#[expect(dead_code, reason = "a bench has a main")]
mod simulation;

const DOCS: &str = include_str!("../src/lib.rs");

#[test]
fn the_table_in_the_docs_is_the_one_that_is_printed() {
    let printed = simulation::table();
    let head = printed.lines().next().expect("a head");
    let docs: Vec<_> = DOCS.lines().filter_map(|line| line.strip_prefix("//! ")).collect();
    let start = docs.iter().position(|line| *line == head).expect("the docs have the table");
    let count = printed.lines().count();
    let documented: Vec<_> = docs[start..].iter().take(count).copied().collect();
    assert_eq!(documented.join("\n") + "\n", printed);
}
