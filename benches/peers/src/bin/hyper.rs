//! `GET /plaintext` by hyper.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

fn main() -> io::Result<()> {
    lodger_peers::run(connection)
}

async fn connection(stream: TcpStream) {
    // Without the first switch sixteen requests in one read are answered by sixteen writes.
    let mut server = http1::Builder::new();
    let serving =
        server.pipeline_flush(true).serve_connection(TokioIo::new(stream), service_fn(answer));
    // The client ends the connection: nothing is to be done about how.
    let _ = serving.await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = request.uri().path() == "/plaintext";
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!")));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    *response.status_mut() = if known { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok(response)
}
