//! Every metric there is: name, kind, labels and meaning, in one place.
//!
#![doc = include_str!("../METRICS.md")]

use std::fmt::Write as _;

/// What a metric's value does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It only grows, until the process or the thing it counts is replaced.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Observations in buckets with fixed bounds, with their sum and number.
    Histogram,
    /// The sum and the number of observations.
    Summary,
}

impl Kind {
    /// The word of the exposition format.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// A metric, as it is documented and exposed.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
}

impl Metric {
    /// Its name, which ends in its unit, and in `_total` where it is a counter.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What its value does.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The names of its labels. Their values come from the configuration and from fixed lists, never from a client; but
    /// for `user` and `host`, which are [bounded](crate::Metrics::usage) in number.
    pub fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// What it means, in one line.
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// `seconds`, `bytes`, or nothing.
    pub fn unit(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or("")
    }
}

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal)*] $help:literal;)*) => {
        $(pub(crate) static $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// Every metric, in the order of the table.
        pub static ALL: &[&Metric] = &[$(&$constant),*];
    };
}

catalogue! {
    // Clients.
    CONNECTIONS = Counter "proxy_connections_total" ["listener"]
        "Client connections that were admitted.";
    CONNECTIONS_OPEN = Gauge "proxy_connections_open" ["listener"]
        "Client connections that are open.";
    CONNECTION_FAILURES = Counter "proxy_connection_failures_total" ["listener" "code"]
        "Client connections that several requests share (HTTP/2) and that were ended for what the client did: the reason code.";
    HANDSHAKES = Counter "proxy_tls_handshakes_total" ["listener" "result"]
        "TLS handshakes with clients: full, resumed (an earlier session goes on), or failed.";
    HANDSHAKE = Histogram "proxy_tls_handshake_seconds" ["listener"]
        "How long handshakes took that did not fail, the wait for their turn included.";
    // Raw connections and datagrams.
    SESSIONS = Counter "proxy_sessions_total" ["listener" "upstream"]
        "Raw connections and sessions of datagrams that ended.";
    SESSION_FAILURES = Counter "proxy_session_failures_total" ["listener" "upstream" "fault" "phase" "code"]
        "Those that did not go well: whose fault it was, in which phase, and the reason code.";
    SESSION_DURATION = Histogram "proxy_session_duration_seconds" ["listener" "upstream"]
        "From their beginning to their end.";
    SESSION_CONNECT = Histogram "proxy_session_connect_seconds" ["listener" "upstream"]
        "The part until the backend was connected.";
    SESSION_RECEIVED = Counter "proxy_session_received_bytes_total" ["listener" "upstream"]
        "Bytes from clients, counted at the end.";
    SESSION_SENT = Counter "proxy_session_sent_bytes_total" ["listener" "upstream"]
        "Bytes to clients, counted at the end.";
    // Requests.
    REQUESTS = Counter "proxy_requests_total" ["listener" "route" "upstream" "status"]
        "Requests that ended, by the class of the status the client got; none where it got none.";
    REQUESTS_IN_FLIGHT = Gauge "proxy_requests_in_flight" ["listener"]
        "Requests that have begun and not ended.";
    REQUESTS_LIMITED = Counter "proxy_requests_limited_total" ["listener" "route" "upstream"]
        "Requests that a limit of this proxy answered with 429.";
    FAILURES = Counter "proxy_request_failures_total" ["listener" "route" "upstream" "fault" "phase" "code"]
        "Requests that did not go well: whose fault it was, in which phase, and the reason code.";
    DURATION = Histogram "proxy_request_duration_seconds" ["listener" "route" "upstream"]
        "From the complete head of a request to its end.";
    QUEUE = Histogram "proxy_request_queue_seconds" ["listener" "route" "upstream"]
        "The part before a backend was chosen: in filters.";
    CONNECT = Histogram "proxy_request_connect_seconds" ["listener" "route" "upstream"]
        "The part until a connection to the backend was there, pooled or new.";
    FIRST_BYTE = Histogram "proxy_request_first_byte_seconds" ["listener" "route" "upstream"]
        "From the complete head of a request to the first byte of the backend's response.";
    RECEIVED = Counter "proxy_request_received_bytes_total" ["listener" "route" "upstream"]
        "Bytes of request bodies read from clients.";
    SENT = Counter "proxy_response_sent_bytes_total" ["listener" "route" "upstream"]
        "Bytes of response heads and bodies written to clients.";
    // Users and hosts of a forward proxy.
    USER_REQUESTS = Counter "proxy_user_requests_total" ["listener" "user"]
        "Requests and tunnels of a user that ended.";
    USER_RECEIVED = Counter "proxy_user_received_bytes_total" ["listener" "user"]
        "Bytes of request bodies, and through tunnels, from a user.";
    USER_SENT = Counter "proxy_user_sent_bytes_total" ["listener" "user"]
        "Bytes of responses, and through tunnels, to a user.";
    HOST_REQUESTS = Counter "proxy_host_requests_total" ["listener" "host"]
        "Requests and tunnels to a host that ended.";
    HOST_RECEIVED = Counter "proxy_host_received_bytes_total" ["listener" "host"]
        "Bytes of request bodies, and through tunnels, for a host.";
    HOST_SENT = Counter "proxy_host_sent_bytes_total" ["listener" "host"]
        "Bytes of responses, and through tunnels, from a host.";
    // Upstreams.
    RETRIES = Counter "proxy_upstream_retries_total" ["upstream"]
        "Attempts that were not the first of their request.";
    BACKENDS = Gauge "proxy_upstream_backends" ["upstream" "state"]
        "Backends in each state.";
    POOL_OPENED = Counter "proxy_pool_connections_opened_total" ["upstream"]
        "Connections to backends that were made.";
    POOL_REUSED = Counter "proxy_pool_connections_reused_total" ["upstream"]
        "Uses of a connection that was made before. The share of reuse is reused / (opened + reused).";
    POOL_CLOSED = Counter "proxy_pool_connections_closed_total" ["upstream"]
        "Connections to backends that were closed.";
    POOL_OPEN = Gauge "proxy_pool_connections_open" ["upstream"]
        "Connections to backends that are open, in use or not.";
    POOL_IDLE = Gauge "proxy_pool_connections_idle" ["upstream"]
        "Connections to backends that are kept and not in use.";
    POOL_WAITING = Gauge "proxy_pool_requests_waiting" ["upstream"]
        "Requests that wait for a free connection.";
    POOL_WAITS = Counter "proxy_pool_waits_total" ["upstream"]
        "Times that a request had to wait for a free connection.";
    POOL_FAILURES = Counter "proxy_pool_connect_failures_total" ["upstream"]
        "Connections that could not be made.";
    POOL_CONNECT = Histogram "proxy_pool_connect_seconds" ["upstream"]
        "How long it took to make a connection.";
    // Backends.
    BACKEND_UP = Gauge "proxy_backend_up" ["upstream" "backend"]
        "Whether a backend gets requests: 1 if it is healthy.";
    BACKEND_STATE = Gauge "proxy_backend_state" ["upstream" "backend" "state"]
        "1 for the state that a backend is in, 0 for the others.";
    BACKEND_WEIGHT = Gauge "proxy_backend_weight" ["upstream" "backend"]
        "The weight of a backend.";
    BACKEND_IN_FLIGHT = Gauge "proxy_backend_requests_in_flight" ["upstream" "backend"]
        "Attempts at a backend that have begun and not ended.";
    BACKEND_LATENCY = Gauge "proxy_backend_latency_seconds" ["upstream" "backend"]
        "The decaying average of the time to the first byte.";
    BACKEND_ATTEMPTS = Counter "proxy_backend_attempts_total" ["upstream" "backend" "result"]
        "Attempts at a backend that ended: with a class of status, failed, or abandoned by the client.";
    BACKEND_FIRST_BYTE = Summary "proxy_backend_first_byte_seconds" ["upstream" "backend"]
        "From the start of an attempt to the first byte of the response.";
    BACKEND_CHANGES = Counter "proxy_backend_state_changes_total" ["upstream" "backend" "state" "source"]
        "Changes into a state, by who asked for it: check, outlier (an ejection), breaker, operator, discovery, …";
    // Limits.
    LIMIT_DECISIONS = Counter "proxy_limit_decisions_total" ["limit" "kind" "decision"]
        "What a limit did not just let pass: refused, delayed, would_refuse (in a dry run), undecided (nobody could be asked who counts).";
    LIMIT_KEYS = Gauge "proxy_limit_keys" ["limit" "kind"]
        "Keys that a limit remembers.";
    LIMIT_FORGOTTEN = Counter "proxy_limit_keys_forgotten_total" ["limit" "kind"]
        "Keys that a limit forgot for want of room.";
    LIMIT_RUNNING = Gauge "proxy_limit_requests_in_flight" ["limit" "kind"]
        "Requests that run under a limit on those.";
    LIMIT_MOST = Gauge "proxy_limit_requests_max" ["limit" "kind"]
        "How many may run under it; an adaptive one moves.";
    // The process.
    RELOADS = Counter "proxy_config_reloads_total" ["result"]
        "Configurations that were loaded while running: applied, or refused.";
    RELOADED = Gauge "proxy_config_last_reload_timestamp_seconds" []
        "When a configuration was last applied, in seconds since 1970.";
    LOG_LINES = Counter "proxy_access_log_lines_total" []
        "Lines that access logs made, the lost ones among them.";
    LOG_DROPPED = Counter "proxy_access_log_dropped_total" []
        "Lines of access logs that were lost, as the target was too slow or failed.";
    BUILD = Gauge "proxy_build_info" ["version"]
        "Always 1; its label says which version runs.";
    CPU = Counter "process_cpu_seconds_total" []
        "CPU time of this process, in user and system mode.";
    OPEN_FDS = Gauge "process_open_fds" []
        "Descriptors that are open.";
    MAX_FDS = Gauge "process_max_fds" []
        "Descriptors that may be open.";
    RESIDENT = Gauge "process_resident_memory_bytes" []
        "Memory that is resident.";
    VIRTUAL = Gauge "process_virtual_memory_bytes" []
        "Memory that is mapped.";
    THREADS = Gauge "process_threads" []
        "Threads of this process.";
    STARTED = Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970.";
}

/// The documentation of [`ALL`], as a table in Markdown: what METRICS.md holds.
pub fn table() -> String {
    let mut table = String::from("| name | kind | labels | meaning |\n|---|---|---|---|\n");
    for metric in ALL {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels, help) = (metric.name, metric.kind.as_str(), labels.join(", "), metric.help);
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {help} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_current() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/METRICS.md");
        let text = std::fs::read_to_string(file).expect("METRICS.md is there");
        let table = table();
        assert!(text.contains(&table), "METRICS.md lacks this table:\n{table}");
    }

    #[test]
    fn names_follow_the_rules() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "a name is used twice");
        for metric in ALL {
            let legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(metric.name.bytes().all(legal), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with(['.', '…']) && !metric.help.contains('\n'), "{}", metric.name);
            let timed = matches!(metric.kind, Kind::Histogram | Kind::Summary);
            assert!(!timed || metric.unit() == "seconds", "{}", metric.name);
        }
    }
}
