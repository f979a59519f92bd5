//! `GET /plaintext` by hyper over HTTP/2: by prior knowledge, or with `CERT KEY` (PEM) over TLS.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [cert, key] = args.as_slice() else { return lodger_peers::run(connection) };
    let acceptor = TlsAcceptor::from(Arc::new(config(cert, key).map_err(io::Error::other)?));
    lodger_peers::run(move |stream| {
        let accepting = acceptor.accept(stream);
        async move {
            // A client that fails its handshake has itself to blame.
            if let Ok(stream) = accepting.await {
                connection(stream).await;
            }
        }
    })
}

fn config(cert: &str, key: &str) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let certs = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(certs, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let server = http2::Builder::new(TokioExecutor::new());
    // The client ends the connection: nothing is to be done about how.
    let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!")));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}
