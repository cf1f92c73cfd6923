//! The proxy's spans, as OpenTelemetry has them.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Hands the spans of sampled requests on. Their ids are those that the proxy told the backends, which no other id
/// would do: so they are taken over, and not made here.
pub(crate) struct Spans<P> {
    processor: Arc<P>,
    scope: InstrumentationScope,
}

/// A request's span while it lives.
struct Open {
    began: SystemTime,
    trace: TraceId,
    span: SpanId,
    parent: SpanId,
    sampled: bool,
    failed: bool,
    name: [String; 2],
    attributes: Vec<KeyValue>,
}

impl<P: SpanProcessor> Spans<P> {
    pub(crate) fn new(processor: Arc<P>) -> Self {
        Spans { processor, scope: InstrumentationScope::builder("proxy_core").build() }
    }
}

impl<P: SpanProcessor + 'static, S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans<P> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // Connections belong to no trace.
        if let Some(span) = context.span(id).filter(|span| span.name() == "request") {
            let mut open = Open::new();
            attributes.record(&mut open);
            span.extensions_mut().insert(open);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(open);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let open = context.span(&id).and_then(|span| span.extensions_mut().remove::<Open>());
        if let Some(open) = open.filter(|open| open.sampled) {
            self.processor.on_end(open.ended(self.scope.clone()));
        }
    }
}

impl Open {
    fn new() -> Self {
        Open {
            began: SystemTime::now(),
            trace: TraceId::INVALID,
            span: SpanId::INVALID,
            parent: SpanId::INVALID,
            sampled: false,
            failed: false,
            name: Default::default(),
            attributes: Vec::new(),
        }
    }

    fn ended(self, scope: InstrumentationScope) -> SpanData {
        let context = SpanContext::new(self.trace, self.span, TraceFlags::SAMPLED, false, TraceState::default());
        SpanData {
            span_context: context,
            parent_span_id: self.parent,
            parent_span_is_remote: self.parent != SpanId::INVALID,
            span_kind: SpanKind::Server,
            name: self.name.join(" ").trim_end().to_owned().into(),
            start_time: self.began,
            end_time: SystemTime::now(),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if self.failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: scope,
        }
    }

    /// By the semantic conventions of HTTP, where they have a name for it.
    fn note(&mut self, field: &Field, value: impl Into<Value>) {
        let name = match field.name() {
            "method" => "http.request.method",
            "path" => "url.path",
            "scheme" => "url.scheme",
            "host" => "server.address",
            "version" => "network.protocol.version",
            "client" => "client.address",
            "route" => "http.route",
            "status" => "http.response.status_code",
            "received" => "http.request.body.size",
            "sent" => "http.response.size",
            "code" => "error.type",
            "listener" => "proxy.listener",
            "upstream" => "proxy.upstream",
            "backend" => "proxy.backend",
            "attempts" => "proxy.attempts",
            "queue" => "proxy.seconds.queue",
            "connect" => "proxy.seconds.connect",
            "first_byte" => "proxy.seconds.first_byte",
            "total" => "proxy.seconds.total",
            "reason" => "proxy.reason",
            "phase" => "proxy.phase",
            other => other,
        };
        self.attributes.push(KeyValue::new(name, value));
    }
}

impl Visit for Open {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "trace_id" => self.trace = TraceId::from_hex(value).unwrap_or(TraceId::INVALID),
            "span_id" => self.span = SpanId::from_hex(value).unwrap_or(SpanId::INVALID),
            "parent_span_id" => self.parent = SpanId::from_hex(value).unwrap_or(SpanId::INVALID),
            "version" => self.note(field, value.trim_start_matches("HTTP/").to_owned()),
            name => {
                match name {
                    "method" => value.clone_into(&mut self.name[0]),
                    "route" => value.clone_into(&mut self.name[1]),
                    "code" => self.failed = true,
                    _ => {}
                }
                self.note(field, value.to_owned());
            }
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "sampled" => self.sampled = value,
            _ => self.note(field, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.failed |= field.name() == "status" && value >= 500;
        self.note(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.note(field, format!("{value:?}"));
    }
}
