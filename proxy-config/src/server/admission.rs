//! Who may connect to a listener, and how connections begin.

use proxy_core::{Cidr, ClientAccess, ProxyBuilder, ProxyProtocol};

use super::ServerError;
use crate::Listener;
use crate::path::Path;

/// Who may connect to a listener, and how connections begin.
pub(super) struct Admission {
    /// `None` where everybody may.
    pub(super) access: Option<ClientAccess>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
}

impl Admission {
    pub(super) fn of(path: &Path<'_>, listener: &Listener) -> Result<Self, ServerError> {
        let mut access = None;
        if let Some(allow) = &listener.allow {
            access = Some(ClientAccess::new().allow(ranges(&Path::Key(path, "allow"), allow)?));
        }
        if !listener.deny.is_empty() {
            let denied = ranges(&Path::Key(path, "deny"), &listener.deny)?;
            access = Some(access.unwrap_or_default().deny(denied));
        }
        let header = Path::Key(path, "proxy_protocol");
        let proxy_protocol = listener.proxy_protocol.as_ref().map(|config| proxy_protocol(&header, config));
        Ok(Admission { access, proxy_protocol: proxy_protocol.transpose()? })
    }

    /// In front of all other filters.
    pub(super) fn into_proxy(self, proxy: ProxyBuilder) -> ProxyBuilder {
        let proxy = self.access.into_iter().fold(proxy, ProxyBuilder::filter);
        self.proxy_protocol.into_iter().fold(proxy, ProxyBuilder::proxy_protocol)
    }
}

fn proxy_protocol(path: &Path<'_>, config: &crate::ProxyProtocol) -> Result<ProxyProtocol, ServerError> {
    let trusted = ranges(&Path::Key(path, "trusted"), &config.trusted)?;
    let protocol = match config.required.unwrap_or(true) {
        true => ProxyProtocol::required(trusted),
        false => ProxyProtocol::optional(trusted),
    };
    Ok(config.timeout.into_iter().fold(protocol, ProxyProtocol::timeout))
}

pub(super) fn ranges(path: &Path<'_>, networks: &[crate::Cidr]) -> Result<Vec<Cidr>, ServerError> {
    let ranges = networks.iter().map(|network| Cidr::new(network.address(), network.prefix()));
    ranges.collect::<Result<_, _>>().map_err(|error| ServerError::cannot_build(path.to_string(), error))
}
