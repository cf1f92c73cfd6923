//! The schema for others to read: editors and people.

mod default;
mod docs;
mod json;
mod json_schema;
mod reference;

use crate::schema::config::outline;
use crate::{Config, Registry};

impl Config {
    /// The JSON Schema (draft 2020-12) of a configuration, with descriptions and defaults. Editors that are told of
    /// it by the key `"$schema"` complete a file and say what is wrong with it.
    ///
    /// It is made from what decodes a file, so the two never disagree on keys, names and ranges. What only shows
    /// between values, such as a name that refers to nothing, it cannot say: parsing does.
    ///
    /// ```
    /// let schema = proxy_config::Config::json_schema();
    /// assert!(schema.starts_with("{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"));
    /// ```
    pub fn json_schema() -> String {
        json_schema::document(&outline(&Registry::default()))
    }

    /// A page on all keys of a configuration, in Markdown.
    pub fn reference() -> String {
        reference::page(&outline(&Registry::default()))
    }
}

impl Registry {
    /// As [`Config::json_schema`], with the filters and selectors of this registry.
    pub fn json_schema(&self) -> String {
        json_schema::document(&outline(self))
    }
}
