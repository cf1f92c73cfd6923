//! The whole file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path as FilePath;
use std::str::FromStr;
use std::time::Duration;

use super::access_log::{AccessLog, access_log};
use super::backend::zone;
use super::listener::{Listener, listeners};
use super::names::named;
use super::operations::{Admin, admin};
use super::source::Source;
use super::upstream::{Upstream, upstream};
use crate::Registry;
use crate::decode::{Cursor, Leads, Report, Shape, Unique};
use crate::error::{ConfigError, ConfigErrors, ErrorKind};
use crate::expand::expand;
use crate::json::{self, Node, Value};
use crate::path::Path;
use crate::unsupported::{Unsupported, unsupported};
use crate::values::duration::duration;

/// A valid configuration.
///
/// Get one with [`str::parse`] or [`Config::load`]; with plugins of your own, through a [`Registry`].
///
/// In a string, `${NAME}` is the value of an environment variable, `${NAME:-default}` one that may be missing or
/// empty; `$${` is `${`. Not so in `access_log.format.template`, where `${…}` is of the request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// `$schema`: where the JSON Schema of this file lies; editors complete and check it by that.
    pub schema: Option<String>,
    /// `workers`: how many threads serve, 1 to 1024; as many as the machine has cores when absent. Fixed at the start.
    pub workers: Option<usize>,
    /// `local_zone`: where this proxy stands. Backends of the same `zone` are used first.
    pub local_zone: Option<String>,
    /// `admin`: the administration interface.
    pub admin: Option<Admin>,
    /// `access_log`: one line per request.
    pub access_log: Option<AccessLog>,
    /// `shutdown`: how to stop.
    pub shutdown: Shutdown,
    /// `listeners`: where clients arrive. Never empty.
    pub listeners: BTreeMap<String, Listener>,
    /// `upstreams`: where requests go.
    pub upstreams: BTreeMap<String, Upstream>,
    unsupported: Vec<Unsupported>,
    registry: Registry,
    source: Source,
}

impl Config {
    /// Reads and validates a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not JSON, or is not a valid configuration; with all its mistakes.
    pub fn load(path: impl AsRef<FilePath>) -> Result<Self, ConfigErrors> {
        Registry::default().load(path)
    }

    /// What it was read with.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The file it was [loaded](Self::load) from.
    pub fn file(&self) -> Option<&FilePath> {
        self.source.file.as_deref()
    }

    /// What it was parsed from, as compact JSON, with `…` in place of secrets: keys such as `token` and `secret`, header
    /// fields with credentials, addresses with a password in them.
    pub fn shown(&self) -> &str {
        &self.source.shown
    }

    /// The parts of the text this was parsed from whose capability has not landed yet, in the order of the file.
    pub fn unsupported(&self) -> &[Unsupported] {
        &self.unsupported
    }
}

impl FromStr for Config {
    type Err = ConfigErrors;

    fn from_str(text: &str) -> Result<Self, ConfigErrors> {
        Registry::default().parse(text)
    }
}

/// A file, read with these names.
pub(crate) fn load(path: &FilePath, registry: &Registry) -> Result<Config, ConfigErrors> {
    let config = read(path).map_err(ConfigErrors::unreadable).and_then(|text| parse(&text, registry));
    let mut config = config.map_err(|errors| errors.in_file(path))?;
    config.source.file = Some(path.to_owned());
    Ok(config)
}

/// A text, read with these names.
pub(crate) fn parse(text: &str, registry: &Registry) -> Result<Config, ConfigErrors> {
    let mut root = json::parse(text).map_err(|error| {
        let syntax = ConfigError::new(ErrorKind::Syntax, error.message).at(error.position);
        ConfigErrors::new(vec![syntax], 0)
    })?;
    let report = Report::new(upstream_names(&root), registry.clone());
    // As it is written: what variables hold is not for everyone to see.
    let shown = json::shown(&root);
    expand(&mut root, &Path::Root, &report, registry.variables());
    let config = config(Cursor::new(&root, &Path::Root, &report));
    let mut config = report.finish(config)?;
    config.unsupported = unsupported(&root);
    config.registry = registry.clone();
    config.source.shown = shown.into();
    Ok(config)
}

/// `shutdown`: how to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// `delay`: how long everything goes on once it is told to stop, so that balancers before it see in time that it
    /// is no longer ready; 0 s when absent.
    pub delay: Option<Duration>,
    /// `drain`: how long running requests may take to finish; 30 s when absent.
    pub drain: Option<Duration>,
}

/// The file as text; at most 64 MiB, so that a device or a pipe cannot exhaust the memory.
fn read(path: &FilePath) -> io::Result<String> {
    const LARGEST: u64 = 64 << 20;
    let mut text = String::new();
    let size = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if size as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
    }
    Ok(text)
}

/// The names that references may use. Read ahead of everything, as `listeners` usually comes first.
fn upstream_names(root: &Node) -> Option<BTreeMap<String, Leads>> {
    let Value::Object(members) = &root.value else {
        return None;
    };
    match members.iter().find(|member| member.key == "upstreams").map(|member| &member.node.value) {
        None => Some(BTreeMap::new()),
        Some(Value::Object(upstreams)) => {
            Some(upstreams.iter().map(|member| (member.key.clone(), leads(&member.node.value))).collect())
        }
        Some(_) => None,
    }
}

fn leads(upstream: &Value) -> Leads {
    match upstream {
        Value::Object(members) if members.iter().any(|member| member.key == "proxy") => Leads::Anywhere,
        _ => Leads::Nowhere,
    }
}

/// What such a file may hold.
pub(crate) fn outline(registry: &Registry) -> Shape {
    Shape::of(&Report::new(None, registry.clone()), config)
}

fn config(cursor: Cursor<'_>) -> Option<Config> {
    cursor.object("an object, the configuration", |fields| {
        let mut taken = Unique::new();
        let schema =
            fields.optional("$schema", |cursor| cursor.string("the address of a JSON Schema").map(str::to_owned));
        let workers = fields.optional("workers", |cursor| cursor.integer(1..=1024));
        let local_zone = fields.optional("local_zone", zone);
        let admin = fields.optional("admin", |cursor| admin(cursor, &mut taken));
        let access_log = fields.optional("access_log", access_log);
        let shutdown = fields.optional("shutdown", shutdown).unwrap_or_default();
        let listeners = fields
            .required("listeners", "an object with one entry per listener", |cursor| listeners(cursor, &mut taken));
        let upstreams = fields.optional("upstreams", |cursor| {
            cursor.map("an object with one entry per upstream", |name, value| named(name, value, upstream))
        });
        let upstreams = upstreams.unwrap_or_default();
        Some(Config {
            schema,
            workers,
            local_zone,
            admin,
            access_log,
            shutdown,
            listeners: listeners?,
            upstreams,
            unsupported: Vec::new(),
            registry: Registry::default(),
            source: Source::default(),
        })
    })
}

fn shutdown(cursor: Cursor<'_>) -> Option<Shutdown> {
    cursor.object("an object", |fields| {
        Some(Shutdown { delay: fields.optional("delay", duration), drain: fields.optional("drain", duration) })
    })
}
