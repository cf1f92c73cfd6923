//! What a configuration may name beyond itself: filters and selectors of yours, and variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use proxy_core::{Filter, Selector};

use crate::expand::Variables;
use crate::schema::{config, filter, selector};
use crate::{Config, ConfigErrors};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type MakeFilter = dyn Fn(&str) -> Result<Arc<dyn Filter>, BoxError> + Send + Sync;
type MakeSelector = dyn Fn(&str) -> Result<Box<dyn Selector>, BoxError> + Send + Sync;

/// What a configuration may name beyond itself: filters and selectors of yours, and variables.
///
/// A filter is written as ours are, `"name"` or `{"name": settings}`, among the `filters` of a listener or a
/// route; a selector stands under `selector`. What makes it is given the settings as JSON, `null` where there are
/// none. An error of it is told with its path, and leaves the server as it was.
///
/// ```
/// use proxy_config::Registry;
/// use proxy_core::EditHeaders;
///
/// let registry = Registry::new().filter("greeting", |settings| match settings {
///     "null" => Ok(EditHeaders::new()), // or a filter of yours
///     _ => Err("takes no settings"),
/// });
/// let config = registry.parse(r#"{
///     "listeners": { "web": { "listen": ["127.0.0.1:0"], "http": { "upstream": "api", "filters": ["greeting"] } } },
///     "upstreams": { "api": { "backends": ["127.0.0.1:9001"] } }
/// }"#)?;
/// assert!(config.unsupported().is_empty());
/// # Ok::<(), proxy_config::ConfigErrors>(())
/// ```
///
/// A configuration keeps the registry that it was read with, and a server reads the next one with the same.
/// A clone is the same registry.
#[derive(Clone, Default)]
pub struct Registry {
    names: Arc<Names>,
}

#[derive(Clone, Default)]
struct Names {
    filters: BTreeMap<String, Arc<MakeFilter>>,
    selectors: BTreeMap<String, Arc<MakeSelector>>,
    variables: Option<Arc<Variables>>,
}

impl Registry {
    /// Nothing but what a configuration has anyway, and the variables of the process's environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a filter. `make` is called whenever one is needed: a filter that did not change is kept by a reload.
    ///
    /// # Panics
    /// If a filter of this name is there already.
    #[must_use]
    pub fn filter<F, E>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(&str) -> Result<F, E> + Send + Sync + 'static,
    ) -> Self
    where
        F: Filter,
        E: Into<BoxError>,
    {
        let make = move |settings: &str| match make(settings) {
            Ok(filter) => Ok(Arc::new(filter) as Arc<dyn Filter>),
            Err(error) => Err(error.into()),
        };
        let name = new_name(name, &filter::names());
        let before = Arc::make_mut(&mut self.names).filters.insert(name, Arc::new(make));
        assert!(before.is_none(), "two filters of one name");
        self
    }

    /// Adds a selector. `make` is called for each upstream that names it, and again when the upstream's settings
    /// change.
    ///
    /// # Panics
    /// If a selector of this name is there already.
    #[must_use]
    pub fn selector<S, E>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(&str) -> Result<S, E> + Send + Sync + 'static,
    ) -> Self
    where
        S: Selector,
        E: Into<BoxError>,
    {
        let make = move |settings: &str| match make(settings) {
            Ok(selector) => Ok(Box::new(selector) as Box<dyn Selector>),
            Err(error) => Err(error.into()),
        };
        let name = new_name(name, &selector::names());
        let before = Arc::make_mut(&mut self.names).selectors.insert(name, Arc::new(make));
        assert!(before.is_none(), "two selectors of one name");
        self
    }

    /// Takes the values of variables from here instead of the process's environment.
    #[must_use]
    pub fn variables_from(mut self, find: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.names).variables = Some(Arc::new(find));
        self
    }

    /// Reads and validates a file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Config, ConfigErrors> {
        config::load(path.as_ref(), self)
    }

    /// Reads and validates a text.
    ///
    /// # Errors
    /// When it is not JSON, or is not a valid configuration; with all its mistakes.
    pub fn parse(&self, text: &str) -> Result<Config, ConfigErrors> {
        config::parse(text, self)
    }

    pub(crate) fn variables(&self) -> &Variables {
        match &self.names.variables {
            Some(variables) => &**variables,
            None => &|name| std::env::var_os(name),
        }
    }

    pub(crate) fn filter_names(&self) -> Vec<&str> {
        self.names.filters.keys().map(String::as_str).collect()
    }

    pub(crate) fn selector_names(&self) -> Vec<&str> {
        self.names.selectors.keys().map(String::as_str).collect()
    }

    pub(crate) fn make_filter(&self, name: &str, settings: &str) -> Result<Arc<dyn Filter>, BoxError> {
        let make = self.names.filters.get(name).ok_or("is not in the registry of this configuration")?;
        make(settings)
    }

    pub(crate) fn make_selector(&self, name: &str, settings: &str) -> Result<Box<dyn Selector>, BoxError> {
        let make = self.names.selectors.get(name).ok_or("is not in the registry of this configuration")?;
        make(settings)
    }
}

/// A name that is not one of ours.
fn new_name(name: impl Into<String>, ours: &[String]) -> String {
    let name = name.into();
    assert!(!ours.contains(&name), "{name:?} is the name of one that is built in");
    name
}

/// Whether both name the same things.
impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        fn same<T: ?Sized>(ours: &BTreeMap<String, Arc<T>>, theirs: &BTreeMap<String, Arc<T>>) -> bool {
            let pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len() && pairs.into_iter().all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
        }
        let (ours, theirs) = (&*self.names, &*other.names);
        let variables = match (&ours.variables, &theirs.variables) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        variables && same(&ours.filters, &theirs.filters) && same(&ours.selectors, &theirs.selectors)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("filters", &self.filter_names())
            .field("selectors", &self.selector_names())
            .finish_non_exhaustive()
    }
}
