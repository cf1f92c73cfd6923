use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::{Body, RequestHead};

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// What the backend is told where a client sends these fields.
async fn run(filter: &TraceContext, fields: &[(&str, &str)]) -> (Trace, Vec<String>) {
    let mut request = Request::new(RequestHead::new(Method::GET, "/").unwrap(), Body::empty());
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.head_mut().headers_mut().append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    let mut context = Context::internal();
    assert!(matches!(filter.on_request(&mut request, &mut context).await, Ok(Flow::Continue)));
    let headers = request.head().headers();
    let trace = *context.get::<Trace>().unwrap();
    let sent: Vec<_> = headers.get_all(TRACEPARENT).collect();
    assert_eq!(sent, [trace.traceparent().as_bytes()]);
    assert_eq!(parent::parse(sent[0]).unwrap().trace_id, trace.trace_id().as_bytes());
    (trace, headers.get_all(TRACESTATE).map(|value| String::from_utf8(value.to_vec()).unwrap()).collect())
}

#[tokio::test]
async fn a_trace_is_continued() {
    // What comes, the flags that go on.
    let table = [
        (GOOD, "01"),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "00"),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", "03"),
        // Flags without a meaning are not passed on.
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", "03"),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fc", "00"),
        // Later versions are read as far as they are known.
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "01"),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like", "01"),
        ("fe-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", "01"),
    ];
    for (incoming, flags) in table {
        let (trace, _) = run(&TraceContext::new().sample(0.0), &[(TRACEPARENT, incoming)]).await;
        assert_eq!(trace.trace_id(), ID, "{incoming}");
        assert_eq!(trace.parent_span_id(), Some(SPAN), "{incoming}");
        assert_ne!(trace.span_id(), SPAN, "{incoming}");
        assert_eq!(trace.traceparent(), format!("00-{ID}-{}-{flags}", trace.span_id()), "{incoming}");
        assert_eq!(trace.is_sampled(), flags.ends_with(['1', '3']), "{incoming}");
    }
}

#[tokio::test]
async fn what_is_malformed_begins_a_new_trace() {
    let table = [
        "",
        "00",
        "-",
        // Lengths.
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47366-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b77-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        // More than version 0 has.
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        // More than a later one may have.
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
        // No version.
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        ".0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0X-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        // Zeros.
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        // Other digits.
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b.-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-.1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        // Other separators.
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"",
    ];
    for bad in table {
        let (trace, state) = run(&TraceContext::new(), &[(TRACEPARENT, bad), (TRACESTATE, "a=1")]).await;
        assert_ne!(trace.trace_id(), ID, "{bad}");
        assert_eq!(trace.parent_span_id(), None, "{bad}");
        assert_eq!(state, [""; 0], "{bad}");
    }
    let (trace, state) =
        run(&TraceContext::new(), &[(TRACEPARENT, GOOD), (TRACEPARENT, GOOD), (TRACESTATE, "a=1")]).await;
    assert_ne!(trace.trace_id(), ID, "twice");
    assert_eq!(state, [""; 0], "twice");
    let (trace, _) = run(&TraceContext::new(), &[]).await;
    assert!(trace.is_sampled() && trace.parent_span_id().is_none());
}

#[tokio::test]
async fn strangers_begin_a_new_trace() {
    let filter = TraceContext::new().trust_incoming(false);
    let (trace, state) = run(&filter, &[(TRACEPARENT, GOOD), (TRACESTATE, "a=1")]).await;
    assert_ne!(trace.trace_id(), ID);
    assert_eq!(state, [""; 0]);
}

#[tokio::test]
async fn the_state_is_passed_on_or_removed() {
    let members = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    let long = |key: usize, value: usize| format!("{}={}", "k".repeat(key), "v".repeat(value));
    let good = [
        "",
        "a=1",
        "congo=t61rcWkgMzE",
        "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        "fw529a3039@dt=FfAAAAD,a@b=1,0a=2",
        " a=1 ,\tb=2\t, ,c=x y",
        "a=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~",
        "a_-*/@0=1",
        &members(32),
        &long(256, 256),
    ];
    for state in good {
        let (_, passed) = run(&TraceContext::new(), &[(TRACEPARENT, GOOD), (TRACESTATE, state)]).await;
        assert_eq!(passed, [state]);
    }
    let bad = [
        "a",
        "=1",
        "a=",
        "a=1=2",
        "A=1",
        "_a=1",
        "@a=1",
        "a b=1",
        "a =1",
        "a=x\ty",
        "a=ä",
        "a=1,a=2",
        "a=1;b=2,=",
        &members(33),
        &long(257, 1),
        &long(1, 257),
    ];
    for state in bad {
        let (trace, passed) = run(&TraceContext::new(), &[(TRACEPARENT, GOOD), (TRACESTATE, state)]).await;
        assert_eq!(passed, [""; 0], "{state}");
        assert_eq!(trace.trace_id(), ID, "{state}");
    }
    let (_, passed) = run(&TraceContext::new(), &[(TRACEPARENT, GOOD), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")]).await;
    assert_eq!(passed, ["a=1", "b=2"]);
    let (_, passed) = run(&TraceContext::new(), &[(TRACEPARENT, GOOD), (TRACESTATE, "a=1"), (TRACESTATE, "a=2")]).await;
    assert_eq!(passed, [""; 0], "one key in two fields");
}

#[tokio::test]
async fn a_share_is_sampled_and_a_seed_repeats_itself() {
    let sampled = async |share| {
        let filter = TraceContext::new().with_seed(3).sample(share);
        let mut count = 0;
        for _ in 0..2000 {
            count += u32::from(run(&filter, &[]).await.0.is_sampled());
        }
        count
    };
    assert_eq!((sampled(0.0).await, sampled(1.0).await), (0, 2000));
    let tenth = sampled(0.1).await;
    assert!((150..250).contains(&tenth), "{tenth}");
    assert_eq!(tenth, sampled(0.1).await);
    assert_eq!(sampled(f64::NAN).await, 0);
}

proptest! {
    /// A naive reader of its own agrees: by parts, as the standard has them.
    #[test]
    fn fields_are_read_to_the_letter(field in r"([0-9a-f]{2}|00|ff)-([0-9a-fA-F]{32}|0{32}|[0-9a-f]{30,33})-([0-9a-f]{16}|0{16}|[0-9a-f]{15,17})-[0-9a-fg]{1,3}(-[a-z]*)?") {
        let parts: Vec<_> = field.splitn(5, '-').collect();
        let digits = |text: &str, count| {
            text.len() == count && text.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
        };
        let [version, trace, span, flags] = [parts[0], parts[1], parts[2], parts[3]];
        let good = digits(version, 2)
            && version != "ff"
            && digits(trace, 32)
            && !trace.trim_matches('0').is_empty()
            && digits(span, 16)
            && !span.trim_matches('0').is_empty()
            && digits(flags, 2)
            && (version != "00" || parts.len() == 4);
        let parsed = parent::parse(field.as_bytes());
        prop_assert_eq!(parsed.is_some(), good);
        if let Some(parsed) = parsed {
            prop_assert_eq!(&parsed.trace_id, trace.as_bytes());
            prop_assert_eq!(&parsed.span_id, span.as_bytes());
            prop_assert_eq!(parsed.flags, u8::from_str_radix(flags, 16).unwrap() & 3);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_without_harm(field: Vec<u8>, state: Vec<Vec<u8>>) {
        let parsed = parent::parse(&field);
        prop_assert!(parsed.is_none() || field.len() >= parent::LEN);
        let _ = is_state(state.iter().map(Vec::as_slice));
    }
}
