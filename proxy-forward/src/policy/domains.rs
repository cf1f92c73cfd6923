//! Long lists of domains.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::watched::watch;

/// Domains, each with all the names below it. 100,000 of them take about 4 MiB, and a look-up one hash per
/// label (`cargo bench -p proxy-forward --bench domains`).
///
/// ```
/// let list = proxy_forward::DomainList::parse("ads.example.com\n0.0.0.0 tracker.example # as in a hosts file\n");
/// assert!(list.contains("ads.example.com") && list.contains("a.b.tracker.example"));
/// assert!(!list.contains("example.com") && !list.contains("badads.example.com"));
/// ```
#[derive(Clone, Default)]
pub struct DomainList {
    /// All of them, one behind the other.
    text: Box<str>,
    places: HashTable<Place>,
    refused: usize,
}

/// Where a domain stands in the text.
#[derive(Clone, Copy)]
struct Place {
    start: u32,
    length: u8,
}

impl Place {
    fn of(self, text: &str) -> &str {
        let start = self.start as usize;
        text.get(start..start + usize::from(self.length)).unwrap_or_default()
    }
}

fn hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

impl DomainList {
    /// The domains of a text: one a line, in any case, `*.` or a dot before it allowed; or an address and
    /// names, as in a hosts file. What follows a `#` is a comment. Lines that hold no domain are counted and
    /// left out.
    pub fn parse(text: &str) -> Self {
        let mut list = DomainList::default();
        let mut all = String::new();
        for line in text.lines() {
            let words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let words: Vec<_> = words.collect();
            let names = match words[..] {
                [] => continue,
                [address, ref names @ ..] if !names.is_empty() && address.parse::<std::net::IpAddr>().is_ok() => names,
                _ => &words[..],
            };
            names.iter().for_each(|name| list.add(name, &mut all));
        }
        list.text = all.into();
        list
    }

    fn add(&mut self, name: &str, all: &mut String) {
        let name = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
        let Ok(crate::Host::Name(name)) = name.parse() else {
            self.refused += 1;
            return;
        };
        if self.finds(&name, all) {
            return;
        }
        let (Ok(start), Ok(length)) = (u32::try_from(all.len()), u8::try_from(name.len())) else {
            self.refused += 1;
            return;
        };
        all.push_str(&name);
        let place = Place { start, length };
        self.places.insert_unique(hash(&name), place, |place| hash(place.of(all)));
    }

    /// How many domains there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many entries were no domains, and are left out.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// Bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.text.len() + self.places.allocation_size()
    }

    /// Whether this name, in lower case, is one of them or below one.
    pub fn contains(&self, name: &str) -> bool {
        let mut rest = name;
        loop {
            if self.finds(rest, &self.text) {
                return true;
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return false,
            }
        }
    }

    fn finds(&self, name: &str, text: &str) -> bool {
        self.places.find(hash(name), |place| place.of(text) == name).is_some()
    }
}

impl fmt::Debug for DomainList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainList").field("len", &self.len()).field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// A [`DomainList`] from a file, which can be read anew. A cheap handle: all clones show the same list.
#[derive(Clone)]
pub struct DomainFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    list: ArcSwap<DomainList>,
}

impl DomainFile {
    /// Reads the list.
    ///
    /// # Errors
    /// If the file cannot be read; the error names it.
    pub fn load(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let list = read(&path)?;
        Ok(DomainFile(Arc::new(Shared { path, list: ArcSwap::from_pointee(list) })))
    }

    /// Reads the list anew. Where that fails the old one stays.
    ///
    /// # Errors
    /// If the file cannot be read; the error names it.
    pub fn reload(&self) -> io::Result<()> {
        let list = read(&self.0.path)?;
        tracing::info!(path = %self.0.path.display(), domains = list.len(), refused = list.refused(), "domains read");
        self.0.list.store(Arc::new(list));
        Ok(())
    }

    /// Looks at the file every second, and reads it anew when it has changed. To be spawned; it ends when
    /// it is dropped.
    ///
    /// # Cancel safety
    /// Dropping it ends the watch, and nothing else.
    pub async fn watch(self) {
        let file = self.clone();
        watch(&self.0.path, move || file.reload()).await;
    }

    /// Whether this name, in lower case, is in the list or below one that is.
    pub fn contains(&self, name: &str) -> bool {
        self.0.list.load().contains(name)
    }

    /// The list as it is now.
    pub fn list(&self) -> Arc<DomainList> {
        self.0.list.load_full()
    }
}

fn read(path: &Path) -> io::Result<DomainList> {
    let text =
        std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(DomainList::parse(&String::from_utf8_lossy(&text)))
}

impl fmt::Debug for DomainFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainFile").field("path", &self.0.path).field("list", &*self.0.list.load()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watched::PERIOD;

    #[test]
    fn a_list_has_its_domains_and_what_is_below() {
        let list = DomainList::parse(
            "# comment\n\nAds.Example.COM\r\n*.wild.example\n.dotted.example.\n127.0.0.1 localhost a.hosts b.hosts # x\n\
             ads.example.com\nnot a domain!\n10.0.0.1\n",
        );
        for name in
            ["ads.example.com", "x.y.ads.example.com", "wild.example", "a.dotted.example", "localhost", "b.hosts", "a"]
        {
            assert!(list.contains(name), "{name}");
        }
        for name in ["example.com", "xads.example.com", "com", "", "10.0.0.1", "b", "hosts"] {
            assert!(!list.contains(name), "{name}");
        }
        // `not`, `a`; `domain!` and the address are none.
        assert_eq!((list.len(), list.refused()), (8, 2));
    }

    #[test]
    fn a_long_list_is_small() {
        let text: String =
            (0..100_000).map(|number| format!("tracker-{number}.ads-{}.example\n", number % 977)).collect();
        let list = DomainList::parse(&text);
        assert_eq!(list.len(), 100_000);
        assert!(list.memory() < 20 << 20, "{} bytes", list.memory());
        assert!((0..100_000).all(|number| list.contains(&format!("x.tracker-{number}.ads-{}.example", number % 977))));
        assert!(!list.contains("tracker-100000.ads-1.example"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changes_is_read_anew() {
        let path = std::env::temp_dir().join(format!("proxy-domains-{}", std::process::id()));
        std::fs::write(&path, "one.example\n").unwrap();
        let file = DomainFile::load(&path).unwrap();
        assert!(file.contains("one.example") && !file.contains("second.example"));
        let watch = tokio::spawn(file.clone().watch());
        tokio::task::yield_now().await;
        std::fs::write(&path, "second.example\n").unwrap();
        while !file.contains("second.example") {
            tokio::time::sleep(PERIOD).await;
        }
        assert!(!file.contains("one.example"));
        std::fs::remove_file(&path).unwrap();
        tokio::time::sleep(3 * PERIOD).await;
        assert!(file.contains("second.example") && file.reload().is_err());
        watch.abort();
    }
}
