//! How an upstream learns which of its backends work.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decode::{Cursor, quote};
use crate::values::count::{at_least_one, percent};
use crate::values::duration::positive_duration;
use crate::values::header::{field_name, field_value, method};

/// `upstreams.<name>.health_check`: asks every backend again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// `http`, `tcp`, `udp`, `http2` or `grpc`: how to ask.
    pub probe: Probe,
    /// `interval`: between two questions; 5 s when absent.
    pub interval: Option<Duration>,
    /// `fast_interval`: the same while a backend is not well, or its last answer was bad; the interval, 1 s at
    /// most, when absent.
    pub fast_interval: Option<Duration>,
    /// `jitter_percent`: by how much intervals differ, by chance; 10 when absent.
    pub jitter_percent: Option<u8>,
    /// `timeout`: until an answer counts as missing; 2 s when absent.
    pub timeout: Option<Duration>,
    /// `rise`: good answers in a row until a backend is used; 2 when absent.
    pub rise: Option<u32>,
    /// `fall`: bad answers in a row until it is not; 3 when absent.
    pub fall: Option<u32>,
    /// `start`: what a backend is until it is checked: `"up"`, also when absent, or `"down"`.
    pub start: Option<Start>,
    /// `port`: where to ask; the backend's own when absent.
    pub port: Option<u16>,
}

/// What a backend is until it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// `"up"`: it gets requests at once.
    Up,
    /// `"down"`: it gets none until its first answer, which decides alone.
    Down,
}

/// How a health check asks: exactly one of the keys `http`, `tcp`, `udp`, `http2` and `grpc`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// `http`: by an HTTP/1.1 request.
    Http(HttpProbe),
    /// `tcp`: by connecting.
    Tcp,
    /// `udp`: by a datagram.
    Udp(UdpProbe),
    /// `http2`: by an HTTP/2 request.
    Http2(HttpProbe),
    /// `grpc`: by the gRPC health protocol.
    #[non_exhaustive]
    Grpc {
        /// `service`: whose health is asked for; the server's when absent.
        service: Option<String>,
    },
}

/// A datagram that a health check sends, and the answers that are good. Both are text, or bytes as `"0x0001ff"`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpProbe {
    /// `send`: the datagram; at most 1,400 bytes.
    pub send: Vec<u8>,
    /// `receive`: what a good answer begins with; any answer is good when absent.
    pub receive: Option<Vec<u8>>,
}

/// A request that a health check sends, and the answers that are good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpProbe {
    /// `path`: the request target, which starts with `/`.
    pub path: String,
    /// `method`: `GET` when absent.
    pub method: Option<String>,
    /// `host`: the backend's address when absent.
    pub host: Option<String>,
    /// `headers`: further fields, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// `status`: the good answers, one range or an array of them; `"200-399"` when absent.
    pub status: Vec<StatusRange>,
    /// `body`: text that must be in the first 64 KiB of the body.
    pub body: Option<String>,
}

/// `"200-299"`, `"204"` or `204`: both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusRange {
    /// The lowest status.
    pub first: u16,
    /// The highest status.
    pub last: u16,
}

/// `upstreams.<name>.outlier_detection`: backends that fail requests are left alone for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlierDetection {
    /// `consecutive_failures`: in a row until a backend is ejected, 0 for never; 5 when absent.
    pub consecutive_failures: Option<u32>,
    /// `consecutive_gateway_failures`: the same for 502, 503, 504 and no answer; never when absent or 0.
    pub consecutive_gateway_failures: Option<u32>,
    /// `success_rate`: compares backends; as with all its defaults when absent, `false` turns it off.
    pub success_rate: Option<SuccessRate>,
    /// `latency`: compares backends; not done when absent.
    pub latency: Option<Latency>,
    /// `interval`: between two comparisons; 10 s when absent.
    pub interval: Option<Duration>,
    /// `eject`: for how long the first time; 30 s when absent. Each time longer by as much.
    pub eject: Option<Duration>,
    /// `max_eject`: for how long at most; 300 s when absent.
    pub max_eject: Option<Duration>,
    /// `max_ejected_percent`: of the backends at a time; 50 when absent.
    pub max_ejected_percent: Option<u8>,
}

/// How success rates are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuccessRate {
    /// `false`: not at all.
    Off,
    /// An object.
    #[non_exhaustive]
    On {
        /// `deviations_percent`: who is further below the mean than so many hundredths of a standard deviation
        /// is ejected; 190 when absent.
        deviations_percent: Option<u32>,
        /// `ceiling_percent`: who succeeds at least so often is no outlier; 95 when absent.
        ceiling_percent: Option<u8>,
        /// `min_requests`: of a backend in the interval; 100 when absent.
        min_requests: Option<u64>,
        /// `min_backends`: that had so many; 5 when absent.
        min_backends: Option<usize>,
    },
}

/// `latency`: how latencies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// `factor`: who takes longer than so many times the median is ejected; 5 when absent.
    pub factor: Option<u32>,
    /// `floor`: below it nobody is; 50 ms when absent.
    pub floor: Option<Duration>,
    /// `min_requests`: of a backend in the interval; 100 when absent.
    pub min_requests: Option<u64>,
    /// `min_backends`: that had so many; 3 when absent.
    pub min_backends: Option<usize>,
}

pub(super) fn health_check(cursor: Cursor<'_>) -> Option<HealthCheck> {
    cursor.object("an object", |fields| {
        let http = fields.optional("http", http_probe).map(Probe::Http);
        let tcp = fields.optional("tcp", |cursor| cursor.object("an empty object", |_| Some(Probe::Tcp)));
        let udp = fields.optional("udp", udp_probe).map(Probe::Udp);
        let http2 = fields.optional("http2", http_probe).map(Probe::Http2);
        let grpc = fields.optional("grpc", grpc_probe);
        fields.exactly_one(&["http", "tcp", "udp", "http2", "grpc"]);
        let interval = fields.optional("interval", positive_duration);
        let fast_interval = fields.optional("fast_interval", positive_duration);
        let jitter_percent = fields.optional("jitter_percent", percent);
        let timeout = fields.optional("timeout", positive_duration);
        let rise = fields.optional("rise", in_a_row);
        let fall = fields.optional("fall", in_a_row);
        let start = fields.optional("start", start);
        let port = fields.optional("port", |cursor| cursor.integer(1..=u16::MAX));
        let probe = http.or(tcp).or(udp).or(http2).or(grpc)?;
        Some(HealthCheck { probe, interval, fast_interval, jitter_percent, timeout, rise, fall, start, port })
    })
}

pub(super) fn outlier_detection(cursor: Cursor<'_>) -> Option<OutlierDetection> {
    cursor.object("an object", |fields| {
        Some(OutlierDetection {
            consecutive_failures: fields.optional("consecutive_failures", in_a_row_or_never),
            consecutive_gateway_failures: fields.optional("consecutive_gateway_failures", in_a_row_or_never),
            success_rate: fields.optional("success_rate", success_rate),
            latency: fields.optional("latency", latency),
            interval: fields.optional("interval", positive_duration),
            eject: fields.optional("eject", positive_duration),
            max_eject: fields.optional("max_eject", positive_duration),
            max_ejected_percent: fields.optional("max_ejected_percent", percent),
        })
    })
}

fn in_a_row(cursor: Cursor<'_>) -> Option<u32> {
    cursor.integer(1..=1_000_000)
}

fn in_a_row_or_never(cursor: Cursor<'_>) -> Option<u32> {
    cursor.integer(0..=1_000_000)
}

fn start(cursor: Cursor<'_>) -> Option<Start> {
    cursor.tagged(
        "start state",
        &[("down", |settings| settings.none(Start::Down)), ("up", |settings| settings.none(Start::Up))],
    )
}

fn success_rate(cursor: Cursor<'_>) -> Option<SuccessRate> {
    if cursor.is_false() {
        return Some(SuccessRate::Off);
    }
    cursor.object("false or an object", |fields| {
        Some(SuccessRate::On {
            deviations_percent: fields.optional("deviations_percent", |cursor| cursor.integer(1..=10_000)),
            ceiling_percent: fields.optional("ceiling_percent", percent),
            min_requests: fields.optional("min_requests", |cursor| cursor.integer(1..=1_000_000_000)),
            min_backends: fields.optional("min_backends", at_least_one),
        })
    })
}

fn latency(cursor: Cursor<'_>) -> Option<Latency> {
    cursor.object("an object", |fields| {
        Some(Latency {
            factor: fields.optional("factor", |cursor| cursor.integer(2..=1_000)),
            floor: fields.optional("floor", positive_duration),
            min_requests: fields.optional("min_requests", |cursor| cursor.integer(1..=1_000_000_000)),
            min_backends: fields.optional("min_backends", at_least_one),
        })
    })
}

fn grpc_probe(cursor: Cursor<'_>) -> Option<Probe> {
    cursor.object("an object", |fields| {
        let service = fields.optional("service", |cursor| cursor.string("the name of a service").map(str::to_owned));
        Some(Probe::Grpc { service })
    })
}

fn udp_probe(cursor: Cursor<'_>) -> Option<UdpProbe> {
    const WHAT: &str = r#"text, or bytes such as "0x0001""#;
    cursor.object("an object", |fields| {
        let send = fields.required("send", WHAT, |cursor| cursor.parsed(WHAT, datagram));
        let receive = fields.optional("receive", |cursor| cursor.parsed(WHAT, datagram));
        Some(UdpProbe { send: send?, receive })
    })
}

/// What fits into one packet on every common link.
const MAX_PROBE: usize = 1400;

fn datagram(text: &str) -> Result<Vec<u8>, String> {
    let bytes = match text.strip_prefix("0x") {
        None => text.as_bytes().to_vec(),
        Some(digits) => {
            hexadecimal(digits).ok_or_else(|| format!("{} is not pairs of digits 0-9, a-f", quote(text)))?
        }
    };
    match bytes.len() {
        0 => Err("must not be empty".to_owned()),
        length if length > MAX_PROBE => Err(format!("must be at most {MAX_PROBE} bytes")),
        _ => Ok(bytes),
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
        _ => None,
    });
    pairs.collect()
}

fn http_probe(cursor: Cursor<'_>) -> Option<HttpProbe> {
    cursor.object("an object", |fields| {
        let path = fields.required("path", r#"a path such as "/healthz""#, target);
        let method = fields.optional("method", method);
        let host = fields.optional("host", field_value);
        let headers = fields.optional("headers", headers).unwrap_or_default();
        let status = fields.optional("status", statuses).unwrap_or_default();
        let body = fields.optional("body", body);
        Some(HttpProbe { path: path?, method, host, headers, status, body })
    })
}

/// What the engine writes itself is none of them.
fn headers(cursor: Cursor<'_>) -> Option<BTreeMap<String, String>> {
    cursor
        .map("an object with one entry per field", |name, value| match &*field_name(name).unwrap_or_default() {
            "" => value.fail(format!("{} is not a legal field name", quote(name))),
            "host" => value.fail("has a key of its own: host"),
            "connection" | "content-length" | "transfer-encoding" | "expect" | "upgrade" => {
                value.fail("is written by the proxy itself")
            }
            _ => field_value(value),
        })
        .map(|headers| headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
}

fn body(cursor: Cursor<'_>) -> Option<String> {
    match cursor.string("text")? {
        "" => cursor.fail("must not be empty"),
        text => Some(text.to_owned()),
    }
}

pub(super) fn statuses(cursor: Cursor<'_>) -> Option<Vec<StatusRange>> {
    match cursor.is_array() {
        true => cursor.non_empty_list("an array of statuses", status_range),
        false => status_range(cursor).map(|range| vec![range]),
    }
}

fn target(cursor: Cursor<'_>) -> Option<String> {
    cursor.like("^/").parsed(r#"a path such as "/healthz""#, |text| {
        let legal = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if legal { Ok(text.to_owned()) } else { Err(format!("{} is not a legal request path", quote(text))) }
    })
}

fn status_range(cursor: Cursor<'_>) -> Option<StatusRange> {
    if cursor.is_number() {
        return cursor.integer(100..=599).map(|status| StatusRange { first: status, last: status });
    }
    const WHAT: &str = r#"a status such as 200, or a range such as "200-299""#;
    cursor.like("^[1-5][0-9]{2}(-[1-5][0-9]{2})?$").parsed(WHAT, |text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(StatusRange { first, last }),
            _ => Err(format!("expected {WHAT}, found {}", quote(text))),
        }
    })
}

fn status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|status| digits && (100..=599).contains(status))
}
