use tokio::net::TcpStream;

use super::{Ended, Pump};
use crate::Error;

/// Moves exactly `bytes` bytes from one TCP socket to another and leaves all that follows in the
/// source. Shuts nothing down.
///
/// ```no_run
/// # async fn example(from: tokio::net::TcpStream, to: tokio::net::TcpStream, content_length: u64)
/// # -> Result<(), proxy_zerocopy::Error> {
/// proxy_zerocopy::splice::copy_exact(&from, &to, content_length).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ErrorKind::UnexpectedEof`](crate::ErrorKind::UnexpectedEof) if the source ends earlier, and
/// otherwise as [`Pump::poll_pump`]. [`Error::transferred`] says how many bytes arrived.
///
/// # Cancel safety
///
/// Not cancel safe: dropping the future loses the bytes in flight and the count. Keep a [`Pump`]
/// and call [`Pump::run`] where the transfer may be interrupted and taken up again.
pub async fn copy_exact(from: &TcpStream, to: &TcpStream, bytes: u64) -> Result<(), Error> {
    let mut pump = Pump::new(Some(bytes));
    match pump.run(from, to).await? {
        Ended::Limit => Ok(()),
        Ended::Eof => Err(Error::unexpected_eof(pump.transferred())),
    }
}
