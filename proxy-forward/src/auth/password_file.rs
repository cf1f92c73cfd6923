//! Users and hashes of their passwords.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{Credentials, Login};
use crate::flights::Flights;
use crate::watched::watch;
use proxy_core::User;

/// Results that are remembered, so that a client that sends its password with each request costs one check.
const REMEMBERED: usize = 4096;
/// How long a right password is remembered.
const RIGHT: Duration = Duration::from_secs(300);
/// How long a wrong one is: a client that goes on with it costs a check every so often.
const WRONG: Duration = Duration::from_secs(10);
/// Checks that may wait for a thread: each takes a tenth of a second or so.
const WAITING: usize = 128;

/// Users and hashes of their passwords, from a file as `htpasswd -B` writes it: `name:hash` a line, where a
/// hash is bcrypt's (`$2y$`, `$2b$`, `$2a$`) or Argon2's (`$argon2id$`, `$argon2i$`, `$argon2d$`).
///
/// A check takes as long as the hash is meant to take. It runs on a thread of the runtime's blocking pool, on as
/// many at once as the machine has processors, at most half of them; further ones wait, and beyond 128 are told to
/// come again. What was found is remembered for five minutes, a wrong password for ten seconds: in a bounded
/// number, by a keyed digest of both. A cheap handle.
///
/// ```no_run
/// use proxy_forward::PasswordFile;
///
/// # async fn run() -> Result<(), proxy_forward::PasswordFileError> {
/// let users = PasswordFile::load("users.htpasswd")?;
/// tokio::spawn(users.clone().watch());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PasswordFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    users: ArcSwap<Users>,
    results: Flights<[u8; 32], Login>,
    key: [u8; 32],
    /// Counts the readings of the file: results of the one before are not found any more.
    generation: AtomicU64,
    threads: Arc<Semaphore>,
    waiting: AtomicUsize,
}

type Users = HashMap<Box<str>, Arc<Hash>>;

enum Hash {
    Bcrypt(Box<str>),
    Argon2(Box<PasswordHash>),
}

/// Why a file holds no users.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {reason}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct PasswordFileError {
    path: PathBuf,
    line: Option<usize>,
    reason: String,
}

impl PasswordFile {
    /// Reads the file. Empty lines, and those that begin with `#`, are left out.
    ///
    /// # Errors
    /// If it cannot be read, has no user or the same twice, or a line is none; the error names file and line.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, PasswordFileError> {
        let path = path.into();
        let users = read(&path)?;
        let threads = std::thread::available_parallelism().map_or(1, |count| (count.get() / 2).max(1));
        Ok(PasswordFile(Arc::new(Shared {
            path,
            users: ArcSwap::from_pointee(users),
            results: Flights::new(REMEMBERED),
            key: random_key(),
            generation: AtomicU64::new(0),
            threads: Arc::new(Semaphore::new(threads)),
            waiting: AtomicUsize::new(0),
        })))
    }

    /// Reads the file anew: what was remembered of the old one is forgotten. Where it fails the old one stays.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn reload(&self) -> Result<(), PasswordFileError> {
        let users = read(&self.0.path)?;
        tracing::info!(path = %self.0.path.display(), users = users.len(), "passwords read");
        self.0.users.store(Arc::new(users));
        self.0.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Looks at the file every second, and reads it anew when it has changed. To be spawned; it ends when it
    /// is dropped.
    ///
    /// # Cancel safety
    /// Dropping it ends the watch, and nothing else.
    pub async fn watch(self) {
        let file = self.clone();
        watch(&self.0.path, move || file.reload()).await;
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.0.users.load().len()
    }

    /// Whether there is none, which a file that was read never has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl Credentials for PasswordFile {
    async fn check(&self, name: &str, password: &[u8]) -> Login {
        let digest = self.0.digest(name, password);
        self.0.results.get(&digest, || self.0.check(name, password)).await
    }
}

impl Shared {
    /// Of nothing that anybody outside can compute: a password is not kept in a form that could be tried.
    fn digest(&self, name: &str, password: &[u8]) -> [u8; 32] {
        let generation = self.generation.load(Ordering::Acquire);
        let digest = Sha256::new()
            .chain_update(self.key)
            .chain_update(generation.to_le_bytes())
            .chain_update((name.len() as u64).to_le_bytes())
            .chain_update(name)
            .chain_update(password);
        digest.finalize().into()
    }

    /// The result, and how long it counts.
    async fn check(&self, name: &str, password: &[u8]) -> (Login, Duration) {
        let users = self.users.load_full();
        let known = users.get(name).cloned();
        // Where there is no such user, somebody else's hash takes as long.
        let Some(hash) = known.clone().or_else(|| users.values().next().cloned()) else {
            return (Login::Wrong, WRONG);
        };
        let Some(_place) = Waiting::enter(&self.waiting) else { return (Login::Busy, Duration::ZERO) };
        let Ok(permit) = Arc::clone(&self.threads).acquire_owned().await else { return (Login::Busy, Duration::ZERO) };
        let password = password.to_vec();
        let right = tokio::task::spawn_blocking(move || {
            // Held until the thread is free again, also where the client has left.
            let _permit = permit;
            hash.is_of(&password)
        });
        match right.await {
            Ok(true) if known.is_some() => (Login::User(User::new(name)), RIGHT),
            Ok(_) => (Login::Wrong, WRONG),
            Err(_) => (Login::Busy, Duration::ZERO),
        }
    }
}

/// A place among those who wait, for as long as it is held.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let place = Waiting(count);
        (count.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("$argon2") {
            let hash = PasswordHash::new(text).map_err(|error| format!("not a hash of Argon2: {error}"))?;
            if hash.salt.is_none() || hash.hash.is_none() {
                return Err("not a hash of Argon2: it ends early".to_owned());
            }
            return Ok(Hash::Argon2(Box::new(hash)));
        }
        if ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts = text.parse::<bcrypt::HashParts>();
            return parts.map(|_| Hash::Bcrypt(text.into())).map_err(|error| format!("not a hash of bcrypt: {error}"));
        }
        Err("expected name:hash, with a hash of bcrypt (htpasswd -B) or Argon2".to_owned())
    }

    /// Takes its time.
    fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Hash::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
        }
    }
}

fn read(path: &Path) -> Result<Users, PasswordFileError> {
    let error = |line, reason: String| PasswordFileError { path: path.to_owned(), line, reason };
    let text = std::fs::read_to_string(path).map_err(|cause| error(None, cause.to_string()))?;
    let mut users = Users::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').unwrap_or((line, ""));
        let hash = Hash::parse(hash.trim_end()).map_err(|reason| error(Some(number), reason))?;
        if users.insert(name.into(), Arc::new(hash)).is_some() {
            return Err(error(Some(number), format!("the user `{name}` is there already")));
        }
    }
    if users.is_empty() { Err(error(None, "there is no user".to_owned())) } else { Ok(users) }
}

/// The standard library's keys are the system's random numbers.
fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    for (number, part) in key.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&RandomState::new().hash_one(number).to_le_bytes());
    }
    key
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("path", &self.0.path).field("users", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret`, at the least cost there is.
    const BCRYPT: &str = "$2y$04$BCRYPT";

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("proxy-users-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn bcrypt_of(password: &str) -> String {
        let hash = bcrypt::hash_with_salt(password, 4, *b"sixteen bytes...").unwrap();
        hash.format_for_version(bcrypt::Version::TwoY)
    }

    fn argon2_of(password: &str) -> String {
        use argon2::password_hash::PasswordHasher;
        let argon2 = Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            argon2::Params::new(64, 1, 1, None).unwrap(),
        );
        argon2.hash_password_with_salt(password.as_bytes(), b"sixteen bytes...").unwrap().to_string()
    }

    #[tokio::test]
    async fn both_kinds_of_hash_are_checked() {
        let path = file("kinds", &format!("# users\n\nada:{}\ngrace:{}\n", bcrypt_of("secret"), argon2_of("word")));
        let users = PasswordFile::load(&path).unwrap();
        for (name, password, right) in [
            ("ada", "secret", true),
            ("ada", "Secret", false),
            ("ada", "", false),
            ("ADA", "secret", false),
            ("grace", "word", true),
            ("grace", "secret", false),
            ("nobody", "secret", false),
            ("", "", false),
        ] {
            let expected = if right { Login::User(User::new(name)) } else { Login::Wrong };
            for _ in 0..2 {
                assert_eq!(users.check(name, password.as_bytes()).await, expected, "{name}:{password}");
            }
        }
        assert_eq!(users.0.results.len(), 8);
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn what_was_remembered_is_forgotten_with_the_file() {
        let path = file("reload", &format!("ada:{}\n", bcrypt_of("old")));
        let users = PasswordFile::load(&path).unwrap();
        assert_eq!(users.check("ada", b"old").await, Login::User(User::new("ada")));
        std::fs::write(&path, format!("ada:{}\n", bcrypt_of("new"))).unwrap();
        users.reload().unwrap();
        assert_eq!(users.check("ada", b"old").await, Login::Wrong);
        assert_eq!(users.check("ada", b"new").await, Login::User(User::new("ada")));
        std::fs::remove_file(&path).unwrap();
        assert!(users.reload().is_err());
        assert_eq!(users.check("ada", b"new").await, Login::User(User::new("ada")));
    }

    /// However many ask at once, threads are few and the queue is bounded.
    #[tokio::test]
    async fn too_many_at_once_are_told_to_come_again() {
        let path = file("busy", &format!("ada:{}\n", bcrypt_of("x")));
        let users = PasswordFile::load(&path).unwrap();
        let threads = users.0.threads.clone();
        let all = threads.available_permits() as u32;
        let held = threads.acquire_many_owned(all).await.unwrap();
        let mut asked = tokio::task::JoinSet::new();
        for number in 0..WAITING + 10 {
            let users = users.clone();
            asked.spawn(async move { users.check("ada", format!("{number}").as_bytes()).await });
        }
        for _ in 0..10 {
            assert_eq!(asked.join_next().await.unwrap().unwrap(), Login::Busy);
        }
        drop(held);
        while let Some(result) = asked.join_next().await {
            assert_eq!(result.unwrap(), Login::Wrong);
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_file_of_users_says_where() {
        let check = |text: &str, part: &str| {
            let path = file("bad", text);
            let error = PasswordFile::load(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
            std::fs::remove_file(path).unwrap();
        };
        check("", "there is no user");
        check("# nobody\n", "there is no user");
        check("ada\n", ":1: expected name:hash");
        check("\nada:secret\n", ":2: expected name:hash");
        check("ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", ":1: expected name:hash");
        check(&format!("ada:{BCRYPT}\n"), ":1: not a hash of bcrypt");
        check("ada:$argon2id$v=19$m=8\n", ":1: not a hash of Argon2");
        check(&format!("a:{0}\na:{0}\n", bcrypt_of("x")), ":2: the user `a` is there already");
        let error = PasswordFile::load("/nowhere/users").unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/users: "), "{error}");
    }
}
