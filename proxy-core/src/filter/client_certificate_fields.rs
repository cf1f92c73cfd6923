//! What origins are told about a client's certificate.

use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

use super::{Continue, Filter, Flow};
use crate::{ClientCertificate, Context, Headers, Request, Result};

/// Tells origins which certificate a client has shown. What clients themselves say under these names is removed,
/// also in the spellings with an underscore that some origins take for the same: they cannot be forged.
///
/// | field | value |
/// |---|---|
/// | `Client-Cert` | the certificate (RFC 9440) |
/// | `X-Client-Cert-Fingerprint` | its SHA-256, in hexadecimal |
/// | `X-Client-Cert-Names` | its DNS names, in lower case, and its URIs, with commas between |
///
/// ```
/// use proxy_core::ClientCertificateFields;
///
/// let filter = ClientCertificateFields::new();
/// # let _: &dyn proxy_core::Filter = &filter;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ClientCertificateFields;

const CERTIFICATE: HeaderName = HeaderName::from_static("client-cert");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");
const NAMES: HeaderName = HeaderName::from_static("x-client-cert-names");

impl ClientCertificateFields {
    /// All of the fields.
    pub fn new() -> Self {
        ClientCertificateFields
    }
}

impl Filter for ClientCertificateFields {
    // Not `async`: it does not wait, so its future takes no memory.
    fn on_request<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request,
        context: &'life2 mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
    {
        let headers = request.head_mut().headers_mut();
        remove_claims(headers);
        if let Some(shown) = context.peer().tls.as_ref().and_then(|tls| tls.client.as_ref()) {
            write(headers, shown);
        }
        Box::pin(Continue)
    }
}

fn remove_claims(headers: &mut Headers) {
    let claims = headers.iter().map(|(name, _)| name).filter(|name| is_claim(name));
    let claims: Vec<_> = claims.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Whatever begins with `Client-Cert` or `X-Client-Cert`: `Client-Cert-Chain` is the same RFC's.
fn is_claim(name: &[u8]) -> bool {
    let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    let begins =
        |prefix: &[u8]| name.len() >= prefix.len() && name.iter().map(folded).zip(prefix).all(|(a, b)| a == *b);
    begins(b"client-cert") || begins(b"x-client-cert")
}

fn write(headers: &mut Headers, shown: &ClientCertificate) {
    let mut insert = |name, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    };
    // A byte sequence of RFC 8941 §3.3.5.
    insert(CERTIFICATE, format!(":{}:", STANDARD.encode(&shown.der)));
    insert(FINGERPRINT, shown.fingerprint.to_string());
    // A URI that reads as two would be somebody else's.
    let uris = shown.uris.iter().filter(|uri| uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
    let names: Vec<_> = shown.dns_names.iter().chain(uris).map(AsRef::as_ref).collect();
    if !names.is_empty() {
        insert(NAMES, names.join(","));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;

    use super::*;
    use crate::{Body, Peer, RequestHead, TlsInfo};

    async fn told(client: Option<ClientCertificate>, sent: &[(&'static str, &'static str)]) -> String {
        let mut head = RequestHead::new(Method::GET, "/").unwrap();
        for (name, value) in sent {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            head.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let mut request = Request::new(head, Body::empty());
        let tls = Some(Arc::new(TlsInfo { client, ..TlsInfo::default() }));
        let mut context = Context::of(Peer { tls, ..Peer::default() });
        let flow = ClientCertificateFields::new().on_request(&mut request, &mut context).await;
        assert!(matches!(flow, Ok(Flow::Continue)));
        let line = |(name, value): (&[u8], &[u8])| {
            format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        };
        request.head().headers().iter().map(line).collect()
    }

    #[tokio::test]
    async fn origins_are_told_and_clients_are_not_believed() {
        let forged = [
            ("client-cert", ":AA==:"),
            ("client_cert", ":AA==:"),
            ("client-cert-chain", ":AA==:"),
            ("x_client-cert_names", "root"),
            ("x-client-cert-fingerprint", "00"),
            ("client-ce", "stays"),
        ];
        assert_eq!(told(None, &forged).await, "client-ce: stays\n");
        let shown = ClientCertificate {
            der: [0xff, 0xfe, 0xfd, 0xfc][..].into(),
            dns_names: vec!["ada.test".into()],
            uris: vec!["spiffe://a/b".into(), "a,b".into(), "x\r\ny".into()],
            fingerprint: "beef".into(),
        };
        assert_eq!(
            told(Some(shown), &forged).await,
            "client-ce: stays\nclient-cert: ://79/A==:\nx-client-cert-fingerprint: beef\n\
             x-client-cert-names: ada.test,spiffe://a/b\n"
        );
    }
}
