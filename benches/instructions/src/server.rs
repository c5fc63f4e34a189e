//! A server that executes few instructions, so that most of the counted instructions belong to the client.

use std::io;

use inflight_core::{Socket, Task};
use inflight_virtual::Virtual;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The URL of the server's page.
pub(crate) const URL: &str = "http://192.0.2.1/page";
/// The body of each response.
pub(crate) const PAGE: &str = "hello, world";

const ADDRESS: &str = "192.0.2.1:80";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello, world";

/// Starts a server for requests whose body is `upload`. It never responds to a request with another body.
pub(crate) fn start(runtime: &Virtual, upload: &'static [u8]) -> io::Result<()> {
    let listener = runtime.listen(ADDRESS.parse().map_err(io::Error::other)?)?;
    let spawner = runtime.clone();
    let accepting = async move {
        while let Ok((socket, _)) = listener.accept().await {
            Task::spawn(&spawner, serve_connection(socket, upload)).detach();
        }
    };
    Task::spawn(runtime, accepting).detach();
    Ok(())
}

async fn serve_connection(mut socket: Box<dyn Socket>, upload: &[u8]) -> io::Result<()> {
    let mut request = Vec::with_capacity(4096);
    while socket.read_buf(&mut request).await? > 0 {
        if is_complete(&request, upload) {
            request.clear();
            socket.write_all(RESPONSE).await?;
        }
    }
    Ok(())
}

/// Returns whether these bytes are a request with this body.
///
/// The head is not parsed: the clients send the next request only after they have received the response.
fn is_complete(request: &[u8], upload: &[u8]) -> bool {
    request
        .strip_suffix(upload)
        .is_some_and(|head| head.ends_with(b"\r\n\r\n"))
}
