//! From a configuration to a process that serves it, until it is told to stop or another takes over.

use std::net::SocketAddr;
use std::path::Path;

use proxy_config::{Config, Inherited, Server};

use crate::demo::Demo;
use crate::follow::{self, Followed};
use crate::takeover::{self, Takeover};
use crate::{Failure, app, process, systemd};

pub(crate) fn run_file(file: &Path, takeover: Takeover) -> Result<(), Failure> {
    let config = Config::load(file).map_err(Failure::of_config)?;
    run(&config, Some(file), takeover, |inherited| {
        app(&config, inherited).map_err(|error| {
            let advice =
                format!("choose another address there, in {}; `ss -ltnp` says who has this one", file.display());
            Failure::of_server(&error, &advice)
        })
    })
}

pub(crate) fn run_demo(listen: SocketAddr, admin: SocketAddr) -> Result<(), Failure> {
    let demo = Demo::bind().map_err(Failure::at_run_time)?;
    let config = demo.config(listen, admin).map_err(Failure::of_config)?;
    run(&config, None, Takeover::none(), |inherited| {
        let advice = "choose other addresses: cargo run --release --example full_lb -- --listen 127.0.0.1:8081 --admin 127.0.0.1:9901";
        let server = app(&config, inherited).map_err(|error| Failure::of_server(&error, advice))?;
        demo.serve().map_err(Failure::at_run_time)?;
        println!("{}", demo.tour(&server));
        Ok(server)
    })
}

fn run(
    config: &Config,
    file: Option<&Path>,
    takeover: Takeover,
    start: impl FnOnce(&Inherited) -> Result<Server, Failure>,
) -> Result<(), Failure> {
    let runtime = process::runtime(config.worker_count()).map_err(Failure::at_run_time)?;
    let ended = runtime.block_on(async {
        let stop = process::signals(1).map_err(Failure::at_run_time)?;
        let stop_at_once = process::signals(2).map_err(Failure::at_run_time)?;
        let rotations = follow::rotated().map_err(Failure::at_run_time)?;
        let followed = file.map(Followed::new).transpose().map_err(Failure::at_run_time)?;
        let inherited = takeover.inherited().await?;
        let server = start(&inherited)?;
        tokio::select! {
            ended = serve(&server, followed, takeover, inherited, stop) => ended,
            () = follow::rotations(rotations, &server) => Ok(()),
            () = stop_at_once => Err(Failure::at_run_time("stopped before all requests had finished")),
        }
    });
    runtime.shutdown_background();
    ended
}

/// Serves, and drains.
async fn serve(
    server: &Server,
    followed: Option<Followed>,
    takeover: Takeover,
    inherited: Inherited,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    for (listener, address) in server.addresses() {
        tracing::info!(listener, %address, "listening");
    }
    if let Some(address) = server.admin_address() {
        tracing::info!(%address, "administration");
    }
    let mut successor = match takeover.serving(inherited).await {
        Ok(successor) => successor,
        Err(failure) => {
            // It may have accepted already: those are served.
            server.drain().await;
            return Err(failure);
        }
    };
    systemd::ready();
    let serve = async {
        tokio::select! {
            () = stop => {
                tracing::info!("stopping; another signal ends at once");
                systemd::stopping();
                server.withdraw().await;
            }
            () = takeover::handed_over(&mut successor, server) => {}
            () = follow::run(followed, server) => {}
        }
        server.drain().await;
    };
    tokio::select! {
        () = serve => {}
        () = systemd::watchdog() => {}
    }
    Ok(())
}
