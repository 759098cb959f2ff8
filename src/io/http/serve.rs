//! The accept loop: a task per connection, TLS or not told apart by the first byte, and a limit to everything.
//!
//! A client that is slow, silent or hostile costs a task and some memory until its time is up, or until so many others
//! have come that it is the oldest; it never holds up the next one.

use super::tls::Certificate;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Connections at a time; one more ends the oldest.
const CONNECTIONS: usize = 64;

/// For the first byte, and for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// For the head of the request.
const HEAD: Duration = Duration::from_secs(5);

/// For everything together.
const WHOLE: Duration = Duration::from_secs(30);

/// The first byte of a TLS connection: a record of type handshake (RFC 8446 §5.1).
const TLS: u8 = 0x16;

/// Serves `plain`, and to clients that begin with TLS `secure` instead, for ever. Cancelled, it ends every connection.
pub(super) async fn run(listener: TcpListener, plain: Router, secure: Option<(Arc<Certificate>, Router)>) {
    let mut tasks = JoinSet::new();
    let mut oldest = VecDeque::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    while oldest.len() >= CONNECTIONS {
                        oldest.pop_front().inspect(tokio::task::AbortHandle::abort);
                    }
                    let (plain, secure) = (plain.clone(), secure.clone());
                    oldest.push_back(tasks.spawn(async move {
                        let _ = timeout(WHOLE, connection(stream, plain, secure)).await;
                    }));
                }
                // Out of file descriptors, or the like: not at full speed.
                Err(fault) => {
                    tracing::warn!(%fault, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = tasks.join_next() => oldest.retain(|task| !task.is_finished()),
        }
    }
}

/// One connection; what goes wrong on it is the client's business.
async fn connection(stream: TcpStream, plain: Router, secure: Option<(Arc<Certificate>, Router)>) {
    let mut first = [0];
    match timeout(HANDSHAKE, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        _ => return,
    }
    match secure {
        Some((certificate, router)) if first == [TLS] => {
            let handshake = TlsAcceptor::from(certificate.now()).accept(stream);
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, handshake).await {
                request(stream, router).await;
            }
        }
        _ => request(stream, plain).await,
    }
}

async fn request(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(fault) = served {
        tracing::debug!(%fault, "a connection broke off");
    }
}
