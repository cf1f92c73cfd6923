//! The list of reasons: one line per way a request can fail.

use http::StatusCode;

use super::Fault;

macro_rules! kinds {
    ($($name:ident, $code:literal, $status:ident, $fault:ident, $text:literal;)*) => {
        /// Every way a request can fail, with its reason code, status and fault.
        ///
        /// | code | status | fault | meaning |
        /// |---|---|---|---|
        $(#[doc = concat!("| `", $code, "` | `", stringify!($status), "` | ", stringify!($fault), " | ", $text, " |")])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $(#[doc = concat!("`", $code, "`: ", $text, ".")] $name,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$name,)*];

            /// The stable reason code.
            pub fn code(self) -> &'static str {
                match self { $(ErrorKind::$name => $code,)* }
            }

            /// The status the client gets; where the client is gone already, what a log would say.
            pub fn status(self) -> StatusCode {
                match self { $(ErrorKind::$name => StatusCode::$status,)* }
            }

            /// Who is responsible.
            pub fn fault(self) -> Fault {
                match self { $(ErrorKind::$name => Fault::$fault,)* }
            }

            pub(crate) fn text(self) -> &'static str {
                match self { $(ErrorKind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    // The request head.
    BadRequestLine, "bad_request_line", BAD_REQUEST, Client, "the request line is malformed";
    BadTarget, "bad_target", BAD_REQUEST, Client, "the request target is malformed, or has a fragment or bytes outside ASCII";
    BadVersion, "bad_version", HTTP_VERSION_NOT_SUPPORTED, Client, "the HTTP version is not 1.0 or 1.1";
    BadHeader, "bad_header", BAD_REQUEST, Client, "a header field is malformed";
    BareLineEnd, "bare_line_end", BAD_REQUEST, Client, "a line of the head ends in a bare LF, or holds a bare CR";
    HeadTooLarge, "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, Client, "the head is larger than the limit";
    TooManyHeaders, "too_many_headers", REQUEST_HEADER_FIELDS_TOO_LARGE, Client, "the head has more fields than the limit";
    TargetTooLong, "target_too_long", URI_TOO_LONG, Client, "the request target is longer than the limit";
    HostMissing, "host_missing", BAD_REQUEST, Client, "an HTTP/1.1 request without Host";
    HostRepeated, "host_repeated", BAD_REQUEST, Client, "more than one Host";
    HostMalformed, "host_malformed", BAD_REQUEST, Client, "Host is not a host with an optional port";
    HostMismatch, "host_mismatch", BAD_REQUEST, Client, "Host disagrees with the absolute request target";
    Misdirected, "misdirected", MISDIRECTED_REQUEST, Client, "Host is none of those that the certificate of this connection is for";
    LengthAndChunked, "length_and_chunked", BAD_REQUEST, Client, "Content-Length together with Transfer-Encoding";
    LengthRepeated, "length_repeated", BAD_REQUEST, Client, "more than one Content-Length";
    LengthMalformed, "length_malformed", BAD_REQUEST, Client, "Content-Length is not a decimal number";
    TransferEncoding, "transfer_encoding", BAD_REQUEST, Client, "Transfer-Encoding is not exactly one chunked";
    ChunkedInHttp10, "chunked_in_http10", BAD_REQUEST, Client, "Transfer-Encoding in an HTTP/1.0 message";
    Expectation, "expectation", EXPECTATION_FAILED, Client, "Expect is not 100-continue";
    ConnectRefusedHere, "connect_method", METHOD_NOT_ALLOWED, Client, "CONNECT where no tunnels are served";
    // The request body.
    BodyTooLarge, "body_too_large", PAYLOAD_TOO_LARGE, Client, "the request body is larger than the limit";
    BadChunk, "bad_chunk", BAD_REQUEST, Client, "the chunked coding of the request body is malformed";
    BadTrailer, "bad_trailer", BAD_REQUEST, Client, "the trailer section of the request is malformed or too large";
    BodyAborted, "body_aborted", BAD_REQUEST, Client, "the connection ended within the request body";
    // The client's time.
    HeadTimeout, "head_timeout", REQUEST_TIMEOUT, Client, "the request head took longer than its deadline";
    BodyTimeout, "body_timeout", REQUEST_TIMEOUT, Client, "the request body stalled, or came slower than the minimum rate";
    WriteTimeout, "write_timeout", REQUEST_TIMEOUT, Client, "the client stopped reading the response";
    TunnelIdle, "tunnel_idle", REQUEST_TIMEOUT, Client, "nothing moved through the tunnel for too long";
    // The client's HTTP/2 connection.
    Http2Protocol, "http2_protocol", BAD_REQUEST, Client, "the client broke a rule of HTTP/2 that its whole connection stands on";
    RapidReset, "rapid_reset", BAD_REQUEST, Client, "the client took back more requests than it may";
    MadeReset, "made_reset", BAD_REQUEST, Client, "the client had more of its streams reset by malformed frames than it may";
    ContinuationFlood, "continuation_flood", BAD_REQUEST, Client, "the client sent a field block in too many pieces";
    HeaderBomb, "header_bomb", BAD_REQUEST, Client, "the client sent a field block of many times the limit";
    FrameFlood, "frame_flood", BAD_REQUEST, Client, "the client sent more frames that bring nothing than it may";
    ServerNameMismatch, "server_name_mismatch", MISDIRECTED_REQUEST, Client, "the TLS ClientHello is for another server than the tunnel";
    LifetimeOver, "lifetime_over", GATEWAY_TIMEOUT, Proxy, "the connection has lived as long as it may";
    ClientGone, "client_gone", BAD_REQUEST, Client, "the client left before the response was complete";
    // What comes before the first byte of a stream.
    ProxyHeaderMissing, "proxy_header_missing", BAD_REQUEST, Client, "the connection does not begin with a PROXY header";
    ProxyHeaderUntrusted, "proxy_header_untrusted", FORBIDDEN, Client, "a PROXY header is required, and the peer is not trusted with one";
    BadProxyHeader, "bad_proxy_header", BAD_REQUEST, Client, "the PROXY header is malformed, too long, or its checksum is wrong";
    ProxyHeaderTimeout, "proxy_header_timeout", REQUEST_TIMEOUT, Client, "the PROXY header took longer than its deadline";
    NotTls, "not_tls", BAD_REQUEST, Client, "the connection does not begin with a TLS handshake";
    BadClientHello, "bad_client_hello", BAD_REQUEST, Client, "the TLS ClientHello is malformed or too long";
    ClientHelloTimeout, "client_hello_timeout", REQUEST_TIMEOUT, Client, "the TLS ClientHello took longer than its deadline";
    SessionsFull, "sessions_full", SERVICE_UNAVAILABLE, Proxy, "there are as many sessions of UDP as there may be, of all clients or of this one";
    // Routing and plugins.
    NoRoute, "no_route", NOT_FOUND, Proxy, "no route matches";
    NoUpstream, "no_upstream", INTERNAL_SERVER_ERROR, Proxy, "a route or filter named an upstream that does not exist";
    Plugin, "plugin", INTERNAL_SERVER_ERROR, Proxy, "a plugin returned an error";
    PluginPanic, "plugin_panic", INTERNAL_SERVER_ERROR, Proxy, "a plugin panicked";
    ShuttingDown, "shutting_down", SERVICE_UNAVAILABLE, Proxy, "the server stopped before the request was complete";
    TotalTimeout, "total_timeout", GATEWAY_TIMEOUT, Proxy, "the request took longer than its total deadline";
    Unsupported, "unsupported", NOT_IMPLEMENTED, Proxy, "the upstream cannot do what was asked";
    // The upstream.
    NoBackend, "no_backend", SERVICE_UNAVAILABLE, Upstream, "no backend is available";
    CircuitOpen, "circuit_open", SERVICE_UNAVAILABLE, Upstream, "every backend that could be tried has as many requests as its breaker lets through";
    PoolFull, "pool_full", SERVICE_UNAVAILABLE, Upstream, "every connection is in use and the wait queue is full";
    PoolTimeout, "pool_timeout", GATEWAY_TIMEOUT, Upstream, "waited too long for a free connection";
    ConnectRefused, "connect_refused", BAD_GATEWAY, Upstream, "the backend could not be connected to";
    ConnectTimeout, "connect_timeout", GATEWAY_TIMEOUT, Upstream, "connecting to the backend took too long";
    ConnectTls, "connect_tls", BAD_GATEWAY, Upstream, "the TLS handshake with the backend failed";
    ConnectHttp2, "connect_http2", BAD_GATEWAY, Upstream, "the backend does not speak HTTP/2";
    NextHopRefused, "next_hop_refused", BAD_GATEWAY, Upstream, "the next proxy on the way did not lead to the destination";
    Resolve, "resolve", BAD_GATEWAY, Upstream, "the backend's name could not be resolved";
    UpstreamGone, "upstream_gone", BAD_GATEWAY, Upstream, "the backend closed the connection before its response was complete";
    UpstreamIo, "upstream_io", BAD_GATEWAY, Upstream, "reading from or writing to the backend failed";
    StreamRefused, "stream_refused", SERVICE_UNAVAILABLE, Upstream, "the backend refused the request before it looked at it";
    StreamReset, "stream_reset", BAD_GATEWAY, Upstream, "the backend reset the request's stream before its response was complete";
    GrpcStatus, "grpc_status", SERVICE_UNAVAILABLE, Upstream, "the backend answered with a status of gRPC that is tried again";
    BadResponse, "bad_response", BAD_GATEWAY, Upstream, "the backend's response head is malformed";
    BadResponseBody, "bad_response_body", BAD_GATEWAY, Upstream, "the backend's response body is malformed";
    UnexpectedUpgrade, "unexpected_upgrade", BAD_GATEWAY, Upstream, "the backend switched protocols without being asked";
    NoTunnel, "no_tunnel", BAD_GATEWAY, Upstream, "the response opens a tunnel, and the upstream has none to give";
    ResponseTimeout, "response_timeout", GATEWAY_TIMEOUT, Upstream, "the backend did not answer in time";
    ResponseStalled, "response_stalled", GATEWAY_TIMEOUT, Upstream, "the backend's response stopped moving";
    ServiceFailed, "service_failed", BAD_GATEWAY, Upstream, "the tower service behind the upstream returned an error";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_and_statuses_say_whose_fault_it_was() {
        let mut codes: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len(), "two kinds have the same code");
        for kind in ErrorKind::ALL {
            let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(kind.code().bytes().all(legal), "{kind:?}");
            let of_client = kind.status().is_client_error() || kind.status() == StatusCode::HTTP_VERSION_NOT_SUPPORTED;
            // Where nothing matches, it is the proxy that has no place for the request.
            let expected = kind.fault() == Fault::Client || *kind == ErrorKind::NoRoute;
            assert_eq!(of_client, expected, "{kind:?}");
        }
    }
}
