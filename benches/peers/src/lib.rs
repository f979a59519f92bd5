//! What the peers share: a loop on one thread, as `lodger` has, and the line that says where.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that says where it listens")]

use std::io;

use tokio::net::{TcpListener, TcpStream};

/// Listens on a port of the system's choice and gives every connection to `serve`, for ever.
///
/// # Errors
///
/// No socket could be had.
pub fn run<F>(serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}/", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}
