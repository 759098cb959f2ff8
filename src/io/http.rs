//! The HTTP servers: `/metrics` on one port, `/healthz` and `/readyz` on another.
//!
//! `/metrics` speaks HTTPS, to whom the API server lets see it, and plain HTTP on the same port unless that is switched
//! off: manifests of released MetalLB scrape the one, those of its main branch the other. Only `GET` is answered, one
//! request per connection. Nothing here changes anything.

mod access;
mod probe;
mod serve;
mod tls;

pub use access::Access;
pub use probe::healthy;
pub use tls::Certificate;

use super::metrics::{CONTENT_TYPE, Metrics};
use anyhow::Context;
use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::{net::TcpListener, sync::watch};

/// What `/readyz` still waits for, each in words; ready when there is nothing.
pub type Missing = BTreeSet<String>;

/// Listens on `port` of `address`; of every address of the host, of both families, without one.
///
/// # Errors
/// When the port is taken, or may not be used.
pub async fn listen(address: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
    let any = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let candidates: Vec<SocketAddr> = match address {
        Some(address) => vec![SocketAddr::new(address, port)],
        // A kernel without IPv6 has the second only.
        None => any.into_iter().map(|any| SocketAddr::new(any, port)).collect(),
    };
    TcpListener::bind(&*candidates).await.with_context(|| format!("listen on port {port}"))
}

/// Serves `/metrics` for ever: over TLS to whom `access` admits, and without TLS to everybody if `plain`.
pub async fn metrics(
    listener: TcpListener,
    metrics: Metrics,
    access: Access,
    certificate: Certificate,
    plain: bool,
) {
    let page = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    let guarded = page.clone().layer(middleware::from_fn_with_state(Arc::new(access), guard));
    let open = if plain { page } else { Router::new().fallback(https_only) };
    serve::run(listener, open, Some((Arc::new(certificate), guarded))).await;
}

/// Serves `/healthz` and `/readyz` for ever; ready while nothing is `missing`.
pub async fn health(listener: TcpListener, missing: watch::Receiver<Missing>) {
    let pages = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(missing);
    serve::run(listener, pages, None).await;
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text())
}

async fn ready(State(missing): State<watch::Receiver<Missing>>) -> (StatusCode, String) {
    let missing: Vec<String> = missing.borrow().iter().cloned().collect();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready, waiting for: {}\n", missing.join(", ")))
    }
}

async fn https_only() -> (StatusCode, &'static str) {
    (StatusCode::FORBIDDEN, "only HTTPS is served here (--metrics-plain=false)\n")
}

/// Lets a request pass if its bearer may read this path.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned());
    match access.check(token, request.uri().path()).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}
