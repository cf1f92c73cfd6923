//! HTTP Strict Transport Security.

use std::time::Duration;

use http::HeaderValue;
use http::header::STRICT_TRANSPORT_SECURITY;

use super::Filter;
use crate::{Context, Response, Result};

/// Tells browsers to ask for this host over TLS alone from now on (RFC 6797), in every answer that is given over
/// TLS: over plain HTTP it must not be said (§7.2). What an origin says about it is replaced.
///
/// ```
/// use std::time::Duration;
///
/// use proxy_core::Hsts;
///
/// let filter = Hsts::new(Duration::from_secs(365 * 86_400)).include_subdomains();
/// # let _: &dyn proxy_core::Filter = &filter;
/// ```
#[derive(Clone, Debug)]
pub struct Hsts {
    max_age: Duration,
    include_subdomains: bool,
    preload: bool,
    value: HeaderValue,
}

impl Hsts {
    /// For so long, in whole seconds. Zero takes it back.
    pub fn new(max_age: Duration) -> Self {
        Hsts { max_age, include_subdomains: false, preload: false, value: HeaderValue::from_static("") }.with_value()
    }

    /// For all hosts below this one, too.
    #[must_use]
    pub fn include_subdomains(mut self) -> Self {
        self.include_subdomains = true;
        self.with_value()
    }

    /// Consents to being listed in browsers, which is hard to take back.
    #[must_use]
    pub fn preload(mut self) -> Self {
        self.preload = true;
        self.with_value()
    }

    fn with_value(mut self) -> Self {
        let subdomains = if self.include_subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        let text = format!("max-age={}{subdomains}{preload}", self.max_age.as_secs());
        if let Ok(value) = HeaderValue::try_from(text) {
            self.value = value;
        }
        self
    }
}

impl Filter for Hsts {
    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        if context.scheme() == "https" {
            response.head_mut().headers_mut().insert(STRICT_TRANSPORT_SECURITY, self.value.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::StatusCode;

    use super::*;
    use crate::{Peer, TlsInfo};

    fn said(filter: &Hsts, context: &mut Context, by_origin: Option<&'static str>) -> Option<String> {
        let mut response = Response::status(StatusCode::OK);
        if let Some(value) = by_origin {
            let value = HeaderValue::from_static(value);
            response.head_mut().headers_mut().insert(STRICT_TRANSPORT_SECURITY, value);
        }
        filter.on_response(&mut response, context).unwrap();
        let all: Vec<_> = response.head().headers().get_all("strict-transport-security").collect();
        assert!(all.len() < 2);
        response.head().headers().get_str("strict-transport-security").map(str::to_owned)
    }

    #[test]
    fn over_tls_alone() {
        let year = Hsts::new(Duration::from_secs(31_536_000));
        let mut plain = Context::internal();
        let tls = Some(Arc::new(TlsInfo::default()));
        let mut secure = Context::of(Peer { tls, ..Peer::default() });
        assert_eq!(said(&year, &mut plain, None), None);
        assert_eq!(said(&year, &mut plain, Some("max-age=1")).as_deref(), Some("max-age=1"));
        let mut check = |filter: &Hsts, expected: &str| {
            assert_eq!(said(filter, &mut secure, Some("max-age=1")).as_deref(), Some(expected));
        };
        check(&year, "max-age=31536000");
        check(&year.clone().include_subdomains(), "max-age=31536000; includeSubDomains");
        check(&year.include_subdomains().preload(), "max-age=31536000; includeSubDomains; preload");
        check(&Hsts::new(Duration::ZERO), "max-age=0");
    }
}
