//! An origin in a process of its own, so that tests can kill and stop it: `origin NAME ADDRESS` answers every
//! request with its name.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let [name, address] = [1, 2].map(|index| std::env::args().nth(index).unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        let answer: &str = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()).leak();
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream, answer));
        }
    })
}

/// Requests without bodies, one after the other.
async fn serve(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..count]);
        if bytes.ends_with(b"\r\n\r\n") {
            bytes.clear();
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}
