//! Where a request comes from: the socket's address, or what a trusted proxy in front says of it. What anybody else writes into the headers
//! `X-Forwarded-…` counts for nothing, since it decides who is throttled and what the audit log names.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use ferrocti_accounts::Origin;

/// Longest text of a client about itself that is kept, in characters.
const AGENT: usize = 256;

/// A network in CIDR notation (RFC 4632), or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network; give an address or e.g. 10.0.0.0/8")]
pub struct NetworkError(String);

impl Network {
    /// Whether an address lies in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits() ^ other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits(), 128),
            _ => return false,
        };
        bits.checked_shr(width - u32::from(self.prefix))
            .unwrap_or(0)
            == 0
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = address
            .parse::<IpAddr>()
            .map_err(|_| wrong())?
            .to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => width,
        };
        (prefix <= width)
            .then_some(Self { address, prefix })
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Where a request comes from and what sent it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Address of the client; `None`: no socket, as in tests.
    pub(crate) address: Option<IpAddr>,
    /// The client, as it names itself; at most 256 characters.
    pub(crate) agent: Option<String>,
    /// `host[:port]` by which the client reached the platform.
    pub(crate) authority: Option<String>,
    /// Whether the client's connection is encrypted; `None`: nobody who may be believed says.
    pub(crate) encrypted: Option<bool>,
}

impl Peer {
    /// From where, as the audit wants it.
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            address: self.address,
            agent: self.agent.as_deref(),
        }
    }

    /// Reads socket and headers; proxies in `trusted` are believed.
    pub(crate) fn of(parts: &Parts, trusted: &[Network]) -> Self {
        let socket = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|connected| connected.0.ip().to_canonical());
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let proxied = socket.is_some_and(is_trusted);
        let told = |name: &str| {
            proxied
                .then(|| last(&parts.headers, name))
                .flatten()
                .filter(|value| !value.is_empty())
        };
        let agent = text(&parts.headers, header::USER_AGENT.as_str());
        Self {
            address: socket.map(|socket| client(socket, &parts.headers, is_trusted)),
            agent: agent.map(|agent| agent.chars().take(AGENT).collect()),
            authority: told("x-forwarded-host")
                .or_else(|| text(&parts.headers, header::HOST.as_str())),
            encrypted: told("x-forwarded-proto").map(|proto| proto.eq_ignore_ascii_case("https")),
        }
    }
}

/// The first address from behind that no trusted proxy has: everything in front of it could have been made up.
fn client(socket: IpAddr, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut client = socket;
    for hop in hops.into_iter().rev() {
        if !trusted(client) {
            break;
        }
        match address(hop.trim()) {
            Some(hop) => client = hop,
            None => break,
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .or_else(|_| text.trim_matches(['[', ']']).parse())
        .or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()))
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// What the proxy nearest to the platform wrote.
fn last<'h>(headers: &'h HeaderMap, name: &str) -> Option<String> {
    let value: Option<&'h str> = headers.get_all(name).iter().next_back()?.to_str().ok();
    value?
        .rsplit(',')
        .next()
        .map(|value| value.trim().to_owned())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn peer(socket: &str, headers: &[(&str, &str)], trusted: &[&str]) -> Peer {
        let mut request = Request::post("/graphql");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let socket = SocketAddr::new(socket.parse().unwrap(), 4000);
        parts.extensions.insert(ConnectInfo(socket));
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Peer::of(&parts, &trusted)
    }

    #[test]
    fn only_trusted_proxies_tell_where_a_request_comes_from() {
        for (socket, forwarded, trusted, expected) in [
            ("203.0.113.9", "198.51.100.1", &[][..], "203.0.113.9"),
            (
                "203.0.113.9",
                "198.51.100.1",
                &["10.0.0.0/8"],
                "203.0.113.9",
            ),
            ("10.0.0.1", "198.51.100.1", &["10.0.0.0/8"], "198.51.100.1"),
            (
                "10.0.0.1",
                "1.1.1.1, 198.51.100.1",
                &["10.0.0.0/8"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                "198.51.100.1, 10.0.0.2",
                &["10.0.0.0/8"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                "198.51.100.1:5000",
                &["10.0.0.1"],
                "198.51.100.1",
            ),
            ("10.0.0.1", "[2001:db8::1]:80", &["10.0.0.1"], "2001:db8::1"),
            ("10.0.0.1", "2001:db8::1", &["10.0.0.1"], "2001:db8::1"),
            (
                "10.0.0.1",
                "198.51.100.1, garbage",
                &["10.0.0.1"],
                "10.0.0.1",
            ),
            (
                "::ffff:10.0.0.1",
                "198.51.100.1",
                &["10.0.0.1"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                "10.0.0.3, 10.0.0.2",
                &["10.0.0.0/8"],
                "10.0.0.3",
            ),
        ] {
            let peer = peer(socket, &[("x-forwarded-for", forwarded)], trusted);
            assert_eq!(
                peer.address.unwrap().to_string(),
                expected,
                "{socket} {forwarded} {trusted:?}"
            );
        }
    }

    #[test]
    fn host_and_scheme_are_believed_of_trusted_proxies_alone() {
        let headers = [
            ("host", "inside:8080"),
            ("x-forwarded-host", "cti.example.org"),
            ("x-forwarded-proto", "https"),
        ];
        let known = peer("10.0.0.1", &headers, &["10.0.0.1"]);
        assert_eq!(known.authority.as_deref(), Some("cti.example.org"));
        assert_eq!(known.encrypted, Some(true));
        let stranger = peer("203.0.113.9", &headers, &["10.0.0.1"]);
        assert_eq!(stranger.authority.as_deref(), Some("inside:8080"));
        assert_eq!(stranger.encrypted, None);
    }

    #[test]
    fn a_client_names_itself_within_bounds() {
        let peer = peer("203.0.113.9", &[("user-agent", &"x".repeat(5000))], &[]);
        assert_eq!(peer.agent.unwrap().len(), AGENT);
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "proxy",
            "::/129",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
