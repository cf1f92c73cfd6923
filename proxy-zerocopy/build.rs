//! Tells the compiler that `--cfg proxy_portable` exists.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(proxy_portable)");
}
