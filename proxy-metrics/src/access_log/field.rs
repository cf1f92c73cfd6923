//! What a line can say.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::Version;
use proxy_core::{Backend, Context, Outcome, RequestHead, RequestIdValue, Trace, User};

use super::{escape, number, time};

macro_rules! fields {
    ($($variant:ident $name:literal $help:literal;)*) => {
        /// What a line can say.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field {
            $(#[doc = $help] $variant,)*
        }

        impl Field {
            pub(super) const ALL: &'static [Field] = &[$(Field::$variant),*];

            pub(super) fn name(self) -> &'static str {
                match self { $(Field::$variant => $name),* }
            }

            /// For the documentation.
            #[cfg(test)]
            pub(super) fn help(self) -> &'static str {
                match self { $(Field::$variant => $help),* }
            }
        }
    };
}

fields! {
    Time "time" "When the request ended: RFC 3339, UTC, milliseconds.";
    TimeCommon "time_common" "The same as the Common Log Format has it.";
    TimeUnix "time_unix" "The same in seconds since 1970.";
    Id "id" "The request's id, where the filter `request_id` gave it one.";
    Trace "trace_id" "The trace that it belongs to, where the filter `trace_context` knows.";
    Listener "listener" "The name of the listener.";
    Client "client" "The client's address: the peer's, or what trusted proxies say it is.";
    User "user" "The user, where a filter knows who asks, as a forward proxy with passwords does.";
    Peer "peer" "The address that the connection came from.";
    Request "request" "Method, target and version, as in the request line.";
    Method "method" "The method.";
    Target "target" "The request target, byte for byte.";
    Protocol "protocol" "`HTTP/1.1` or `HTTP/1.0`.";
    Host "host" "The host that was asked for.";
    Status "status" "The status that the client got.";
    Route "route" "The name of the route.";
    Upstream "upstream" "The name of the upstream.";
    Backend "backend" "The backend that was asked last.";
    Attempts "attempts" "Attempts at backends.";
    Received "received" "Bytes of the request's body.";
    Sent "sent" "Bytes of head and body of the response.";
    Queue "queue" "Seconds before a backend was chosen.";
    Connect "connect" "Seconds until a connection to it was there.";
    FirstByte "first_byte" "Seconds from the request to the first byte of the backend's response.";
    Total "total" "Seconds from the request to its end.";
    Reason "reason" "Who ended it and in which phase, as in `upstream/connect`; `ok` where all went well.";
    Code "code" "The exact reason code.";
    Referer "referer" "The field `Referer`.";
    UserAgent "user_agent" "The field `User-Agent`.";
}

/// A field's value.
enum Value<'a> {
    None,
    Bytes(&'a [u8]),
    /// Method, target, version.
    Request(&'a RequestHead),
    /// Who, where.
    Reason(&'static str, &'static str),
    Address(IpAddr),
    Number(u64),
    Seconds(Duration),
    Time(fn(&mut Vec<u8>, SystemTime)),
    /// Is a number in JSON, too.
    Stamp,
}

impl Field {
    fn value<'a>(self, outcome: &'a Outcome, context: &'a Context) -> Value<'a> {
        let head = context.request();
        let header = |name: &str| head.and_then(|head| head.headers().get(name)).into();
        let timings = &outcome.timings;
        match self {
            Field::Time => Value::Time(time::rfc3339),
            Field::TimeCommon => Value::Time(time::common),
            Field::TimeUnix => Value::Stamp,
            Field::Id => context.get::<RequestIdValue>().map(RequestIdValue::as_str).into(),
            Field::Trace => context.get::<Trace>().map(Trace::trace_id).into(),
            Field::Listener => context.peer().listener.as_deref().into(),
            Field::Client => context.client().map_or(Value::None, Value::Address),
            Field::Peer => context.peer().address.map_or(Value::None, |it| Value::Address(it.ip().to_canonical())),
            Field::Request => head.map_or(Value::None, Value::Request),
            Field::Method => head.map(|head| head.method().as_str()).into(),
            Field::Target => head.map(RequestHead::target).into(),
            Field::Protocol => head.map(|head| protocol(head.version())).into(),
            Field::Host => head.and_then(RequestHead::host).into(),
            Field::Status => outcome.status.map_or(Value::None, |status| Value::Number(status.as_u16().into())),
            Field::Route => context.route().into(),
            Field::Upstream => context.upstream().into(),
            Field::Backend => context.backend().map(Backend::id).into(),
            Field::Attempts => Value::Number(outcome.attempts.into()),
            Field::Received => Value::Number(outcome.bytes_received),
            Field::Sent => Value::Number(outcome.bytes_sent),
            Field::Queue => timings.queue.map_or(Value::None, Value::Seconds),
            Field::Connect => timings.connect.map_or(Value::None, Value::Seconds),
            Field::FirstByte => timings.first_byte.map_or(Value::None, Value::Seconds),
            Field::Total => Value::Seconds(timings.total),
            Field::Reason => Value::Reason(outcome.reason().0, outcome.reason().1),
            Field::Code => outcome.error.map(proxy_core::ErrorKind::code).into(),
            Field::Referer => header("referer"),
            Field::UserAgent => header("user-agent"),
            Field::User => context.get::<User>().map(User::name).into(),
        }
    }

    /// As a value in JSON.
    pub(super) fn write_json(self, out: &mut Vec<u8>, outcome: &Outcome, context: &Context, now: SystemTime) {
        let value = self.value(outcome, context);
        let bare = matches!(value, Value::None | Value::Number(_) | Value::Seconds(_) | Value::Stamp);
        if !bare {
            out.push(b'"');
        }
        match value {
            Value::None => out.extend_from_slice(b"null"),
            value => value.write(out, now, escape::json),
        }
        if !bare {
            out.push(b'"');
        }
    }

    /// As text, `-` where there is none.
    pub(super) fn write_text(self, out: &mut Vec<u8>, outcome: &Outcome, context: &Context, now: SystemTime) {
        match self.value(outcome, context) {
            Value::None => out.push(b'-'),
            value => value.write(out, now, escape::text),
        }
    }
}

impl Value<'_> {
    fn write(self, out: &mut Vec<u8>, now: SystemTime, escape: fn(&mut Vec<u8>, &[u8])) {
        match self {
            Value::None => {}
            Value::Bytes(bytes) => escape(out, bytes),
            Value::Request(head) => {
                escape(out, head.method().as_str().as_bytes());
                out.push(b' ');
                escape(out, head.target());
                out.push(b' ');
                out.extend_from_slice(protocol(head.version()).as_bytes());
            }
            Value::Reason(who, phase) => {
                out.extend_from_slice(who.as_bytes());
                if !phase.is_empty() {
                    out.push(b'/');
                    out.extend_from_slice(phase.as_bytes());
                }
            }
            Value::Address(address) => number::address(out, address),
            Value::Number(number) => number::decimal(out, number),
            Value::Seconds(time) => number::seconds(out, time),
            Value::Time(write) => write(out, now),
            Value::Stamp => time::unix(out, now),
        }
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        bytes.map_or(Value::None, Value::Bytes)
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map(str::as_bytes).into()
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
