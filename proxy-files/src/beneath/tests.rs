use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder `in` beside a secret, with links and other things that are no files.
struct Trap(PathBuf);

impl Trap {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("proxy-files-beneath-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let trap = std::env::temp_dir().join(name);
        let inside = trap.join("in");
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::write(trap.join("secret"), "secret").unwrap();
        fs::write(inside.join("file"), "file").unwrap();
        fs::write(inside.join("a/b/deep"), "deep").unwrap();
        symlink("../secret", inside.join("up")).unwrap();
        symlink(trap.join("secret"), inside.join("absolute")).unwrap();
        symlink("..", inside.join("parent")).unwrap();
        symlink("file", inside.join("alias")).unwrap();
        symlink("a/b", inside.join("short")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        Trap(trap)
    }

    fn inside(&self) -> PathBuf {
        self.0.join("in")
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(root: &Root, path: &str) -> io::Result<String> {
    let mut text = String::new();
    let mut file = root.open(Patience::Enough)?.open(Path::new(path))?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Whatever the kernel offers: the same is there, and nothing outside is.
#[test]
fn nothing_outside_can_be_opened() {
    let trap = Trap::new();
    let _socket = UnixListener::bind(trap.inside().join("socket")).unwrap();
    let offered = Root::new(trap.inside(), false).unwrap().means;
    let all = [Means::Cached, Means::Beneath, Means::Walk];
    for means in all.into_iter().skip_while(|means| *means != offered) {
        for follow_links in [false, true] {
            let root = Root::with(trap.inside(), follow_links, means);
            let check = |path: &str, expected: Option<&str>| {
                let seen = read(&root, path);
                if let Err(error) = &seen {
                    assert!(is_absence(error) || error.kind() == io::ErrorKind::NotFound, "{path}: {error}, {means:?}");
                }
                assert_eq!(seen.ok().as_deref(), expected, "{path}, {means:?}, {follow_links}");
            };
            check("file", Some("file"));
            check("a/b/deep", Some("deep"));
            let within = (follow_links && means != Means::Walk).then_some(());
            check("alias", within.map(|()| "file"));
            check("short/deep", within.map(|()| "deep"));
            let long = "x".repeat(300);
            for outside in [
                "up",
                "absolute",
                "parent/secret",
                "../secret",
                "a/../../secret",
                "magic/etc/hostname",
                "loop",
                "missing",
                "file/x",
                "socket",
                &long,
                "/etc/hostname",
            ] {
                check(outside, None);
            }
        }
    }
}

/// A folder that takes the place of another is seen at once; one that is a link may be one.
#[test]
fn the_root_is_what_its_path_says() {
    let trap = Trap::new();
    let link = trap.0.join("current");
    symlink("in", &link).unwrap();
    let root = Root::new(link.clone(), false).unwrap();
    assert_eq!(read(&root, "file").unwrap(), "file");
    fs::create_dir(trap.0.join("next")).unwrap();
    fs::write(trap.0.join("next/file"), "next").unwrap();
    fs::remove_file(&link).unwrap();
    symlink("next", &link).unwrap();
    assert_eq!(read(&root, "file").unwrap(), "next");
    assert!(Root::new(trap.0.join("secret"), false).is_err());
    assert!(Root::new(trap.0.join("missing"), false).is_err());
}

/// Without patience there is either the same answer, or a word that it takes some.
#[cfg(target_os = "linux")]
#[test]
fn impatience_changes_no_answer() {
    let trap = Trap::new();
    let root = Root::new(trap.inside(), false).unwrap();
    for path in ["file", "a/b/deep", "up", "missing", "parent/secret"] {
        let patient = read(&root, path).map_err(|error| error.raw_os_error());
        let quick = root.open(Patience::None).and_then(|opened| {
            let mut text = String::new();
            opened.open(Path::new(path))?.read_to_string(&mut text).map(|_| text)
        });
        match quick {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            quick => assert_eq!(quick.map_err(|error| error.raw_os_error()), patient, "{path}"),
        }
    }
}
