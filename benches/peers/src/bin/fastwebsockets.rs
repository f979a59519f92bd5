//! A WebSocket echo by fastwebsockets, with its handshake on hyper.

#![forbid(unsafe_code)]

use std::io;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

fn main() -> io::Result<()> {
    lodger_peers::run(connection)
}

async fn connection(stream: TcpStream) {
    let server = http1::Builder::new();
    let serving = server.serve_connection(TokioIo::new(stream), service_fn(accept)).with_upgrades();
    // The client ends the connection: nothing is to be done about how.
    let _ = serving.await;
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(async move {
        let _ = echo(upgraded).await;
    });
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut ws = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            OpCode::Ping | OpCode::Pong | OpCode::Continuation => {}
        }
    }
}
