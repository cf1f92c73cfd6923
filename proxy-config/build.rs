//! Brings the doc comments of the schema's types along, where `describe/docs.rs` looks descriptions up.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use syn::{Attribute, Expr, Fields, Item, Lit, Meta};

fn main() {
    println!("cargo::rerun-if-changed=src/schema");
    let mut files: Vec<_> =
        fs::read_dir("src/schema").expect("src/schema").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        types_of(file, &mut table);
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("docs.rs"), table).expect("OUT_DIR can be written to");
}

/// Writes an entry for each struct and enum of a file, in its order.
fn types_of(file: &Path, table: &mut String) {
    let stem = file.file_stem().expect("a Rust file").to_string_lossy();
    let text = fs::read_to_string(file).expect("a readable file");
    for item in syn::parse_file(&text).expect("Rust").items {
        let (name, attributes, groups) = match item {
            Item::Struct(item) => (item.ident, item.attrs, group("", "", &item.fields)),
            Item::Enum(item) => {
                let variants = item.variants.iter();
                let groups = variants.map(|it| group(&it.ident.to_string(), &doc(&it.attrs), &it.fields)).collect();
                (item.ident, item.attrs, groups)
            }
            _ => continue,
        };
        let (name, text) = (name.to_string(), doc(&attributes));
        writeln!(table, "    Type {{ file: {stem:?}, name: {name:?}, text: {text:?}, groups: &[{groups}] }},")
            .expect("a string takes everything");
    }
}

/// The fields of a struct or a variant.
fn group(name: &str, text: &str, fields: &Fields) -> String {
    let fields: String = fields.iter().map(|field| format!("{:?}, ", doc(&field.attrs))).collect();
    format!("Group {{ name: {name:?}, text: {text:?}, fields: &[{fields}] }}, ")
}

/// The lines of a doc comment.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(line) => Some(line.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}
