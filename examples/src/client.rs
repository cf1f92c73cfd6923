//! The simplest client there is.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connects, sends `request` and returns what comes back until the other side closes: send
/// `Connection: close` with the last HTTP request.
///
/// # Errors
/// If the connection cannot be made or breaks, or the answer is not UTF-8.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn exchange(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
