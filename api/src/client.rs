//! Where a request comes from, however many trusted proxies it came through.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;

#[derive(Clone, Copy, Debug)]
struct Client(IpAddr);

/// Finds out where a request comes from.
pub(crate) async fn layer(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(peer) = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical()) {
        let client = app.process.config.http.proxies.client(peer, &forwarded(request.headers()));
        request.extensions_mut().insert(Client(client));
    }
    next.run(request).await
}

/// The address of whoever sent a request; none where it came over no network.
pub(crate) fn address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Client>().map(|Client(address)| *address)
}

/// What proxies say for whom they speak, the last to speak last.
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all("x-forwarded-for").iter();
    let all = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    all.map(|text| read(text.trim())).collect()
}

/// Reads an address, also one with a port, as some proxies write it.
fn read(text: &str) -> Option<IpAddr> {
    let socket = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    text.parse().ok().or_else(socket)
}
