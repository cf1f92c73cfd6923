//! A proxy in memory, between a client and scripted origins.

use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestClient, TestProxy};
use proxy_core::{Outcome, Proxy, ProxyBuilder, Route, Upstream};

use crate::Log;

/// A proxy with a [`Recorder`] as its first filter, before scripted origins.
#[derive(Debug)]
pub struct Stage {
    origin: ScriptedConnector,
    recorder: Recorder,
    proxy: TestProxy,
}

impl Stage {
    /// Before an origin whose every connection plays this script.
    pub fn new(script: Script) -> Self {
        Stage::over(ScriptedConnector::always(script))
    }

    /// Before these origins.
    pub fn over(origin: ScriptedConnector) -> Self {
        Stage::with(origin, |builder| builder)
    }

    /// Before these origins, with a proxy as `configure` wants it.
    pub fn with(origin: ScriptedConnector, configure: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Self {
        let upstream = origin.cluster();
        Stage::to(origin, upstream, configure)
    }

    /// Before an upstream of its own over these origins.
    pub fn to(
        origin: ScriptedConnector,
        upstream: impl Upstream,
        configure: impl FnOnce(ProxyBuilder) -> ProxyBuilder,
    ) -> Self {
        Log::prepare();
        let recorder = Recorder::new("recorder");
        let builder = Proxy::builder().filter(recorder.clone()).upstream("origin", upstream);
        let proxy = configure(builder).route(Route::to("origin")).build();
        let proxy = TestProxy::new(proxy.expect("the one route names the one upstream"));
        Stage { origin, recorder, proxy }
    }

    /// The origins.
    pub fn origin(&self) -> &ScriptedConnector {
        &self.origin
    }

    /// What the filter saw.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The proxy.
    pub fn proxy(&self) -> &TestProxy {
        &self.proxy
    }

    /// Connects a client.
    pub fn connect(&self) -> TestClient {
        self.proxy.connect()
    }

    /// Connects a client that has sent these bytes.
    ///
    /// # Cancel safety
    /// The connection is lost.
    pub async fn connect_and_send(&self, bytes: impl AsRef<[u8]>) -> TestClient {
        let mut client = self.connect();
        client.send(bytes).await;
        client
    }

    /// The only outcome there is, once it is there.
    ///
    /// # Panics
    /// If there are several.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn outcome(&self) -> Outcome {
        let first = self.recorder.outcome().await;
        assert_eq!(self.recorder.outcomes().len(), 1, "{:?}", self.recorder.outcomes());
        first
    }

    /// The reason code of the only outcome; `ok` where it went well.
    ///
    /// # Panics
    /// If there are several.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn code(&self) -> &'static str {
        self.outcome().await.error.map_or("ok", |kind| kind.code())
    }
}
