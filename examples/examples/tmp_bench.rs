//! tmp
use proxy_core::*;
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let a: Vec<String> = std::env::args().collect();
    rt.block_on(async move {
        let l = TcpListener::bind(a[1].parse().unwrap()).unwrap();
        serve(l, Proxy::to(&a[2]).unwrap()).await;
    });
}
