use std::collections::VecDeque;
use std::path::PathBuf;

use super::*;

const S: Duration = Duration::from_secs(1);

fn backends(ids: &[&str]) -> Vec<Backend> {
    ids.iter().map(|id| Backend::new(id.parse().unwrap())).collect()
}

fn ids(set: &BackendSet) -> Vec<String> {
    set.backends().iter().map(|backend| backend.id().to_owned()).collect()
}

/// These sets, one a second; `None` is a failure.
struct Told(VecDeque<Option<Vec<Backend>>>);

#[async_trait]
impl Discover for Told {
    async fn next(&mut self) -> Result<Vec<Backend>, DiscoverError> {
        match self.0.pop_front() {
            Some(Some(backends)) => {
                tokio::time::sleep(S).await;
                Ok(backends)
            }
            Some(None) => Err(DiscoverError::new("it failed")),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_bad_leaves_the_last_good_set() {
    let told = [
        Some(backends(&["a:1", "b:1"])),
        None,
        Some(backends(&[])),
        Some(backends(&["c:1", "c:1"])),
        Some(backends(&["b:1", "c:1"])),
    ];
    let set = BackendSet::new([]);
    let running = tokio::spawn(Discovery::new(Told(told.into())).run(set.clone()));
    // Seconds: 1 good; a pause of 1; 1 and a pause of 2; 1 and a pause of 4; 1.
    let start = tokio::time::Instant::now();
    for (second, expected) in [(0, &[][..]), (2, &["a:1", "b:1"]), (9, &["a:1", "b:1"]), (12, &["b:1", "c:1"])] {
        tokio::time::sleep_until(start + S * second).await;
        assert_eq!(ids(&set), expected, "second {second}");
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_fixed_set_is_told_once() {
    let mut fixed = Fixed::new(backends(&["a:1"]));
    assert_eq!(fixed.next().await.unwrap().len(), 1);
    assert!(tokio::time::timeout(S, fixed.next()).await.is_err());
}

#[tokio::test]
async fn a_name_has_all_its_addresses() {
    let name = DnsName::new("localhost", 7).make(|address| Backend::builder(address.into()).weight(3).build());
    let found = { name }.next().await.unwrap();
    assert!(found.iter().any(|backend| backend.id() == "127.0.0.1:7" || backend.id() == "[::1]:7"), "{found:?}");
    assert!(found.iter().all(|backend| backend.weight() == 3));
    // RFC 6761 §6.4: a name that never exists.
    let error = DnsName::new("nowhere.invalid", 7).next().await.unwrap_err();
    assert!(error.to_string().starts_with("nowhere.invalid: "), "{error}");
}

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("discovery-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn next(file: &mut WatchedFile) -> Result<Vec<String>, String> {
    let next = tokio::time::timeout(30 * S, file.next()).await.expect("a change is seen");
    let found = next.map_err(|error| error.to_string())?;
    Ok(found.iter().map(|backend| backend.id().to_owned()).collect())
}

#[tokio::test]
async fn a_file_is_read_when_it_changes() {
    let folder = Folder::new();
    let path = folder.0.join("backends");
    let mut file = WatchedFile::new(&path).interval(Duration::from_millis(5));
    assert!(next(&mut file).await.unwrap_err().contains("No such file"));
    std::fs::write(&path, "a:1\n").unwrap();
    assert_eq!(next(&mut file).await.unwrap(), ["a:1"]);
    // Replaced, as editors do.
    std::fs::write(folder.0.join("new"), "a:1\nb:1\n").unwrap();
    std::fs::rename(folder.0.join("new"), &path).unwrap();
    assert_eq!(next(&mut file).await.unwrap(), ["a:1", "b:1"]);
    std::fs::write(&path, "a:1 weight=many\n").unwrap();
    let error = next(&mut file).await.unwrap_err();
    assert!(error.ends_with("backends: line 1: weight `many` is not from 0 to 65535"), "{error}");
    std::fs::write(&path, "c:1\n").unwrap();
    assert_eq!(next(&mut file).await.unwrap(), ["c:1"]);
}

/// As a Kubernetes volume changes: the file is a link into a folder that is itself a link, and that one is
/// swapped.
#[cfg(unix)]
#[tokio::test]
async fn a_swapped_link_is_seen() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    for (version, text) in [("v1", "a:1\n"), ("v2", "a:1\nb:1\n")] {
        std::fs::create_dir(folder.0.join(version)).unwrap();
        std::fs::write(folder.0.join(version).join("backends"), text).unwrap();
    }
    symlink("v1", folder.0.join("data")).unwrap();
    symlink("data/backends", folder.0.join("backends")).unwrap();
    let mut file = WatchedFile::new(folder.0.join("backends")).interval(Duration::from_millis(5));
    assert_eq!(next(&mut file).await.unwrap(), ["a:1"]);
    symlink("v2", folder.0.join("data.new")).unwrap();
    std::fs::rename(folder.0.join("data.new"), folder.0.join("data")).unwrap();
    assert_eq!(next(&mut file).await.unwrap(), ["a:1", "b:1"]);
}
