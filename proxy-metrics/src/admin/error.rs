//! Why the administration interface is not served.

use std::io;
use std::net::SocketAddr;

/// Why the administration interface is not served.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AdminError(Reason);

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("other machines could reach {0}, and there is no token: listen on 127.0.0.1, or set one")]
    PublicWithoutToken(SocketAddr),
    // The error of the listener names the address.
    #[error(transparent)]
    CannotListen(io::Error),
}

impl AdminError {
    pub(super) fn public_without_token(address: SocketAddr) -> Self {
        AdminError(Reason::PublicWithoutToken(address))
    }

    pub(super) fn cannot_listen(error: io::Error) -> Self {
        AdminError(Reason::CannotListen(error))
    }

    /// The system's error, where that is the reason.
    ///
    /// # Errors
    /// This one, where it is not.
    pub fn into_io(self) -> Result<io::Error, Self> {
        match self.0 {
            Reason::CannotListen(error) => Ok(error),
            reason @ Reason::PublicWithoutToken(_) => Err(AdminError(reason)),
        }
    }
}
