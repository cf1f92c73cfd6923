//! What keeps an upstream's backends up to date: checks, outlier detection, breakers, slow start, discovery.

use std::pin::Pin;

use http::{HeaderName, HeaderValue, Method};
use proxy_core::tls::ClientTls;
use proxy_core::{BackendSet, BackendState, UpstreamHttp2};
use proxy_lb::{
    BreakerSettings, CircuitBreaker, DiscoverError, Discovery, DnsName, GrpcCheck, HealthChecker, HealthSettings,
    HttpCheck, LatencyComparison, OutlierDetector, OutlierSettings, SlowStart, StartState, SuccessRate, TcpCheck,
    UdpCheck, WatchedFile,
};

use super::upstream::{backend, set};
use super::{ServerError, srv};
use crate::path::Path;
use crate::schema::discovery::parse_backends;
use crate::{HealthCheck, HttpProbe, OutlierDetection, Probe, Start, Upstream};

/// Runs beside an upstream for as long as the server does.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What `panic_percent` is when absent: of up to ten backends, when none is left.
const PANIC_PERCENT: u8 = 10;

/// Those that an upstream's cluster is built with.
pub(super) struct Guards {
    pub(super) outliers: Option<OutlierDetector>,
    pub(super) breaker: Option<CircuitBreaker>,
    pub(super) panic_percent: u32,
}

impl Guards {
    pub(super) fn of(upstream: &Upstream) -> Self {
        Guards {
            outliers: upstream.outlier_detection.as_ref().map(outlier_detector),
            breaker: upstream.circuit_breaker.as_ref().map(circuit_breaker),
            panic_percent: upstream.panic_percent.unwrap_or(PANIC_PERCENT).into(),
        }
    }

    /// Everything that runs beside this set.
    pub(super) fn tasks(
        self,
        path: &Path<'_>,
        upstream: &Upstream,
        set: &BackendSet,
        tls: Option<&ClientTls>,
    ) -> Result<Vec<Task>, ServerError> {
        let mut tasks: Vec<Task> = Vec::new();
        // First, so that it sees the others' first verdicts.
        if let Some(slow) = &upstream.slow_start {
            tasks.push(Box::pin(slow_start(slow).run(set.clone())));
        }
        if let Some(detector) = self.outliers {
            tasks.push(Box::pin(detector.run(set.clone())));
        }
        if let Some(breaker) = self.breaker {
            tasks.push(Box::pin(breaker.run(set.clone())));
        }
        if let Some(check) = &upstream.health_check {
            tasks.push(checker(&Path::Key(path, "health_check"), check, set, tls)?);
        }
        if let Some(discovery) = &upstream.discovery {
            tasks.extend(discoverer(discovery, start_state(upstream), set));
        }
        Ok(tasks)
    }
}

/// The state that a backend of this upstream begins in, if it is not healthy.
pub(super) fn start_state(upstream: &Upstream) -> Option<BackendState> {
    upstream.health_check.as_ref().filter(|check| check.start == Some(Start::Down)).map(|_| BackendState::Unhealthy)
}

/// Whether something asks the backends of this upstream how they are.
pub(super) fn is_checked(upstream: &Upstream) -> bool {
    upstream.health_check.is_some()
}

fn checker(
    path: &Path<'_>,
    config: &HealthCheck,
    set: &BackendSet,
    tls: Option<&ClientTls>,
) -> Result<Task, ServerError> {
    let (set, settings, tls) = (set.clone(), health_settings(config), tls.cloned().into_iter());
    let at = |key, error: Source| ServerError::cannot_build(Path::Key(path, key).to_string(), error);
    Ok(match &config.probe {
        Probe::Tcp => {
            let check = tls.fold(TcpCheck::new(), TcpCheck::tls);
            Box::pin(HealthChecker::new(set, check, settings).run())
        }
        Probe::Udp(probe) => {
            let check = UdpCheck::new(&*probe.send);
            let check = probe.receive.as_deref().into_iter().fold(check, UdpCheck::answer_begins);
            Box::pin(HealthChecker::new(set, check, settings).run())
        }
        Probe::Http(probe) => {
            let check = tls.fold(http_check(probe).map_err(|error| at("http", error))?, HttpCheck::tls);
            Box::pin(HealthChecker::new(set, check, settings).run())
        }
        Probe::Http2(probe) => {
            let check = tls.fold(http_check(probe).map_err(|error| at("http2", error))?, HttpCheck::tls);
            Box::pin(HealthChecker::new(set, check.http2(UpstreamHttp2::Always), settings).run())
        }
        Probe::Grpc { service } => {
            let check = GrpcCheck::new().map_err(|error| at("grpc", error.into()))?;
            let check = service.as_deref().into_iter().fold(check, GrpcCheck::service);
            Box::pin(HealthChecker::new(set, tls.fold(check, GrpcCheck::tls), settings).run())
        }
    })
}

fn health_settings(config: &HealthCheck) -> HealthSettings {
    let mut settings = HealthSettings::default();
    set(&mut settings.interval, config.interval);
    set(&mut settings.fast_interval, config.fast_interval.map(Some));
    set(&mut settings.jitter_percent, config.jitter_percent.map(u32::from));
    set(&mut settings.timeout, config.timeout);
    set(&mut settings.rise, config.rise);
    set(&mut settings.fall, config.fall);
    set(&mut settings.port, config.port.map(Some));
    let start = config.start.map(|start| match start {
        Start::Up => StartState::Up,
        Start::Down => StartState::DownUntilChecked,
    });
    set(&mut settings.start, start);
    settings
}

type Source = Box<dyn std::error::Error + Send + Sync>;

fn http_check(probe: &HttpProbe) -> Result<HttpCheck, Source> {
    let method = probe.method.as_deref().unwrap_or("GET");
    let mut check = HttpCheck::new(Method::from_bytes(method.as_bytes())?, &probe.path)?;
    if let Some(host) = &probe.host {
        check = check.host(HeaderValue::from_str(host)?);
    }
    for (name, value) in &probe.headers {
        check = check.header(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    let check = probe.status.iter().fold(check, |check, range| check.status(range.first..=range.last));
    Ok(match &probe.body {
        Some(text) => check.body_contains(text),
        None => check,
    })
}

fn outlier_detector(config: &OutlierDetection) -> OutlierDetector {
    let never_at_zero = |limit: u32| (limit > 0).then_some(limit);
    let mut settings = OutlierSettings::default();
    set(&mut settings.consecutive_failures, config.consecutive_failures.map(never_at_zero));
    set(&mut settings.consecutive_gateway_failures, config.consecutive_gateway_failures.map(never_at_zero));
    set(&mut settings.success_rate, config.success_rate.map(success_rate));
    set(&mut settings.latency, config.latency.map(|latency| Some(latency_comparison(&latency))));
    set(&mut settings.interval, config.interval);
    set(&mut settings.eject, config.eject);
    set(&mut settings.max_eject, config.max_eject);
    set(&mut settings.max_ejected_percent, config.max_ejected_percent.map(u32::from));
    OutlierDetector::new(settings)
}

fn success_rate(config: crate::SuccessRate) -> Option<SuccessRate> {
    let crate::SuccessRate::On { deviations_percent, ceiling_percent, min_requests, min_backends } = config else {
        return None;
    };
    let mut settings = SuccessRate::default();
    set(&mut settings.deviations, deviations_percent.map(|percent| f64::from(percent) / 100.0));
    set(&mut settings.ceiling_percent, ceiling_percent.map(f64::from));
    set(&mut settings.min_requests, min_requests);
    set(&mut settings.min_backends, min_backends);
    Some(settings)
}

fn latency_comparison(config: &crate::Latency) -> LatencyComparison {
    let mut settings = LatencyComparison::default();
    set(&mut settings.factor, config.factor.map(f64::from));
    set(&mut settings.floor, config.floor);
    set(&mut settings.min_requests, config.min_requests);
    set(&mut settings.min_backends, config.min_backends);
    settings
}

fn circuit_breaker(config: &crate::CircuitBreaker) -> CircuitBreaker {
    let mut settings = BreakerSettings::default();
    set(&mut settings.max_requests, config.max_requests.map(Some));
    set(&mut settings.max_retries, config.max_retries.map(Some));
    set(&mut settings.failures, config.failures.map(Some));
    set(&mut settings.open, config.open);
    set(&mut settings.max_open, config.max_open);
    set(&mut settings.half_open_requests, config.half_open_requests);
    set(&mut settings.successes, config.successes);
    CircuitBreaker::new(settings)
}

fn slow_start(config: &crate::SlowStart) -> SlowStart {
    let slow = SlowStart::new(config.window);
    let slow = config.min_percent.into_iter().fold(slow, |slow, percent| slow.min_percent(percent.into()));
    let aggression = config.aggression_percent.map(|percent| f64::from(percent) / 100.0);
    aggression.into_iter().fold(slow, SlowStart::aggression)
}

fn discoverer(config: &crate::Discovery, start: Option<BackendState>, set: &BackendSet) -> Option<Task> {
    let discovery = match config {
        crate::Discovery::Dns { host, port, interval, weight } => {
            let weight = *weight;
            let source = DnsName::new(host, *port).make(move |address| {
                let found = crate::Backend {
                    address: crate::Address::Ip(address),
                    weight,
                    priority: 0,
                    zone: None,
                    backup: false,
                };
                backend(&found, start)
            });
            Discovery::new(interval.iter().copied().fold(source, DnsName::interval))
        }
        crate::Discovery::File { path, interval } => {
            let source = WatchedFile::new(path).parser(move |text| {
                let listed = parse_backends(text).map_err(|errors| DiscoverError::new(errors.to_string()))?;
                Ok(listed.iter().map(|config| backend(config, start)).collect())
            });
            Discovery::new(interval.iter().copied().fold(source, WatchedFile::interval))
        }
        crate::Discovery::Srv { name, name_servers } => srv::discovery(name, name_servers, start)?,
    };
    Some(Box::pin(discovery.run(set.clone())))
}
