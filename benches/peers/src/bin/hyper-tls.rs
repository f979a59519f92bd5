//! `GET /plaintext` by hyper over TLS (rustls, ring, their own defaults), with `CERT KEY` (PEM).

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [cert, key] = args.as_slice() else {
        return Err(io::Error::other("usage: hyper-tls CERT KEY"));
    };
    let acceptor = TlsAcceptor::from(Arc::new(config(cert, key).map_err(io::Error::other)?));
    lodger_peers::run(move |stream| {
        let accepting = acceptor.accept(stream);
        async move {
            // A client that fails its handshake has itself to blame, and ends the connection.
            if let Ok(stream) = accepting.await {
                let serving = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                let _ = serving.await;
            }
        }
    })
}

fn config(cert: &str, key: &str) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let certs = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(certs, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!")));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}
