//! The HTTP servers over real sockets of this host: plain, TLS, neither, and clients that do not play along.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

use ferrolb::io::{
    http::{self, Access, Certificate, Missing},
    metrics::{Metrics, Of},
    settings::TlsVersion,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime},
        version::TLS12,
    },
};

/// Far more than any answer takes; less than the server's own limits, where those must not be what ends a wait.
const SOON: Duration = Duration::from_secs(4);

/// More than the server's limits.
const LONG: Duration = Duration::from_secs(20);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn metrics(plain: bool, cert_dir: Option<&Path>) -> SocketAddr {
    let listener = http::listen(Some(LOOPBACK), 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let certificate = Certificate::new(cert_dir, TlsVersion::Tls13).unwrap();
    tokio::spawn(http::metrics(listener, Metrics::new(Of::Controller), Access::NoApi, certificate, plain));
    address
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

async fn get_plain(address: SocketAddr, path: &str) -> (u16, String) {
    get(TcpStream::connect(address).await.unwrap(), path).await
}

/// Takes any certificate, and keeps it.
#[derive(Debug, Default)]
struct Any(std::sync::Mutex<Vec<u8>>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = certificate.to_vec();
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

async fn get_tls(address: SocketAddr, path: &str) -> (u16, String, Vec<u8>) {
    let seen = Arc::new(Any::default());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (code, text) = get(stream, path).await;
    let certificate = seen.0.lock().unwrap().clone();
    (code, text, certificate)
}

#[tokio::test]
async fn plain_http_serves_everybody() {
    let address = metrics(true, None).await;
    let (code, text) = get_plain(address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
    assert!(text.contains("metallb_k8s_client_config_loaded_bool 0"), "{text}");
    assert_eq!(get_plain(address, "/nope").await.0, 404);
}

#[tokio::test]
async fn plain_http_can_be_switched_off() {
    let (code, text) = get_plain(metrics(false, None).await, "/metrics").await;
    assert_eq!(code, 403);
    assert!(text.contains("only HTTPS"), "{text}");
}

#[tokio::test]
async fn without_an_api_server_https_says_why_it_serves_nobody() {
    let (code, text, _) = get_tls(metrics(true, None).await, "/metrics").await;
    assert_eq!(code, 403);
    assert!(text.contains("no API server"), "{text}");
}

#[tokio::test]
async fn a_certificate_of_a_directory_is_used_and_renewed() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Certificate::new(Some(dir.path()), TlsVersion::Tls13).is_err(), "an empty directory");
    let renew = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().to_vec()
    };
    let first = renew();
    let address = metrics(true, Some(dir.path())).await;
    assert_eq!(get_tls(address, "/metrics").await.2, first);
    let second = renew();
    assert_eq!(get_tls(address, "/metrics").await.2, second);
    std::fs::write(dir.path().join("tls.key"), "rubbish").unwrap();
    assert_eq!(get_tls(address, "/metrics").await.2, second, "the last good one");
}

#[tokio::test]
async fn an_old_tls_is_refused() {
    let address = metrics(true, None).await;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any::default()))
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    assert!(TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_err());
}

/// Input: bytes that are neither TLS nor HTTP, and a TLS record of rubbish. Output: the connection ends, others go on.
#[tokio::test]
async fn rubbish_ends_its_own_connection_only() {
    let address = metrics(true, None).await;
    for rubbish in
        [&[0xff, 0xff, 0, b'\r', b'\n', b'\r', b'\n'][..], &[0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(rubbish).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good an end as a close.
        let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the end");
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(get_plain(address, "/metrics").await.0, 200);
}

/// Input: more silent connections than the server has places, and one in the middle of its request. Output: somebody
/// else is served at once, and those who stay silent are shown the door.
#[tokio::test]
async fn silent_clients_hold_nobody_up() {
    let address = metrics(true, None).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /metrics HT").await.unwrap();
    let mut handshaking = TcpStream::connect(address).await.unwrap();
    handshaking.write_all(&[0x16, 3, 1]).await.unwrap();
    assert_eq!(get_plain(address, "/metrics").await.0, 200);
    let mut byte = [0];
    for stream in silent.iter_mut().chain([&mut slow, &mut handshaking]) {
        let end = timeout(LONG, async { while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {} });
        end.await.expect("the door");
    }
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let listener = http::listen(Some(LOOPBACK), 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (missing, receiver) = watch::channel(Missing::from(["IPAddressPool".into(), "Service".into()]));
    tokio::spawn(http::health(listener, receiver));
    assert_eq!(get_plain(address, "/healthz").await.0, 200);
    let (code, text) = get_plain(address, "/readyz").await;
    assert_eq!(code, 503);
    assert!(text.contains("waiting for: IPAddressPool, Service"), "{text}");
    missing.send(Missing::new()).unwrap();
    assert_eq!(get_plain(address, "/readyz").await.0, 200);
    assert_eq!(get_plain(address, "/metrics").await.0, 404);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = http::listen(Some(LOOPBACK), 0).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let fault = http::listen(Some(LOOPBACK), port).await.unwrap_err();
    assert!(format!("{fault:#}").contains(&port.to_string()));
    assert!(http::listen(None, 0).await.is_ok());
}

/// What an exec probe asks: the server of this host, nobody, and somebody who is no HTTP server.
#[tokio::test]
async fn a_health_check_tells_the_server_from_nobody() {
    let listener = http::listen(Some(LOOPBACK), 0).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_missing, receiver) = watch::channel(Missing::default());
    let server = tokio::spawn(http::health(listener, receiver));
    let ask = |port| tokio::task::spawn_blocking(move || http::healthy(port));
    // it gives each step a second, which is a prober's patience; on a busy machine the server may not have that long
    timeout(Duration::from_secs(30), async { while ask(Some(port)).await.unwrap().is_err() {} })
        .await
        .expect("the server");
    server.abort();
    let _ = server.await;
    let fault = format!("{:#}", ask(Some(port)).await.unwrap().unwrap_err());
    assert!(fault.contains("nobody listens"), "{fault}");
    let mute = http::listen(Some(LOOPBACK), 0).await.unwrap();
    let fault = ask(Some(mute.local_addr().unwrap().port())).await.unwrap().unwrap_err();
    assert!(format!("{fault:#}").contains("no answer"), "{fault:#}");
    assert!(ask(None).await.unwrap().is_err());
}
