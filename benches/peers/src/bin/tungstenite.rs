//! A WebSocket echo by tokio-tungstenite.

#![forbid(unsafe_code)]

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;

fn main() -> io::Result<()> {
    lodger_peers::run(connection)
}

async fn connection(stream: TcpStream) {
    // The client ends the connection: nothing is to be done about how.
    let _ = echo(stream).await;
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let mut ws = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}
