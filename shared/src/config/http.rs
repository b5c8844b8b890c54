//! How the API meets the network: who may call it from pages, how often, and through which proxies.

use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;

use super::{Error, Vars, bad};

/// The proxies whose word about their clients' addresses is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxies {
    /// As many, one behind another; 0: clients connect themselves.
    Count(usize),
    /// Those in these networks.
    Networks(Vec<IpNet>),
}

impl Proxies {
    /// Finds the client of a request that came from `peer`, where `forwarded` are the addresses of `X-Forwarded-For` from
    /// the first to the last; what a client itself wrote there is never believed.
    #[must_use]
    pub fn client(&self, peer: IpAddr, forwarded: &[Option<IpAddr>]) -> IpAddr {
        let mut client = peer;
        for (hops, said) in forwarded.iter().rev().enumerate() {
            let trusted = match self {
                Self::Count(count) => hops < *count,
                Self::Networks(networks) => networks.iter().any(|network| network.contains(&client)),
            };
            match said {
                Some(said) if trusted => client = said.to_canonical(),
                _ => break,
            }
        }
        client
    }
}

/// Pages of which origins may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any.
    All,
    /// These, such as `https://desk.example.org`; none: the API's own only.
    Only(Vec<String>),
}

/// How the API meets the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Pages of which origins may call it.
    pub origins: Origins,
    /// How many requests a caller may make a minute, and at once after a pause; none: any number.
    pub per_minute: Option<NonZeroU32>,
    /// Whose `X-Forwarded-For` is believed.
    pub proxies: Proxies,
}

impl Vars<'_> {
    pub(super) fn http(&self) -> Result<Http, Error> {
        let per_minute = self.number("RATE_LIMIT_PER_MINUTE", 6_000, 0..=10_000_000)?;
        let per_minute = u32::try_from(per_minute).ok().and_then(NonZeroU32::new);
        Ok(Http { origins: self.origins()?, per_minute, proxies: self.proxies()? })
    }

    fn origins(&self) -> Result<Origins, Error> {
        let value = self.text("CORS_ORIGINS").unwrap_or_default();
        if value.trim() == "*" {
            return Ok(Origins::All);
        }
        let expected = "must be * or origins like https://desk.example.org, with commas in between";
        let listed = value.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        let origins = listed.map(|origin| {
            let url = url::Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            // A browser sends exactly this, so a path or a slash at the end would never match.
            url.map(|url| url.origin().ascii_serialization()).filter(|written| written == origin)
        });
        origins.collect::<Option<_>>().map(Origins::Only).ok_or_else(|| bad("CORS_ORIGINS", expected))
    }

    fn proxies(&self) -> Result<Proxies, Error> {
        let value = self.text("TRUSTED_PROXIES").unwrap_or_default();
        if value.trim().is_empty() {
            return Ok(Proxies::Count(0));
        }
        if let Ok(count) = value.trim().parse::<u8>() {
            return Ok(Proxies::Count(count.into()));
        }
        let expected =
            "must be how many proxies there are, or their networks like 10.0.0.0/8, with commas in between";
        let network = |text: &str| {
            let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
            text.parse::<IpNet>().ok().or_else(address)
        };
        let networks = value.split(',').map(|text| network(text.trim())).collect::<Option<_>>();
        networks.map(Proxies::Networks).ok_or_else(|| bad("TRUSTED_PROXIES", expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Process};

    fn read(name: &str, value: &str) -> Result<Http, Error> {
        let lookup = |asked: &str| (asked == name).then(|| value.to_owned());
        Config::read(Process::AllInOne("data".into()), lookup).map(|config| config.http)
    }

    fn client(proxies: &str, forwarded: &[&str]) -> String {
        let proxies = read("TRUSTED_PROXIES", proxies).unwrap().proxies;
        let said: Vec<_> = forwarded.iter().map(|text| text.parse().ok()).collect();
        proxies.client("10.0.0.9".parse().unwrap(), &said).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(client("0", &["192.0.2.1"]), "10.0.0.9");
        assert_eq!(client("1", &[]), "10.0.0.9");
        assert_eq!(client("1", &["192.0.2.66", "192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("2", &["192.0.2.66", "192.0.2.1", "10.0.0.8"]), "192.0.2.1");
        assert_eq!(client("2", &["192.0.2.66", "nonsense", "10.0.0.8"]), "10.0.0.8");
        assert_eq!(client("10.0.0.0/8", &["192.0.2.66", "192.0.2.1", "10.0.0.8"]), "192.0.2.1");
        assert_eq!(client("10.0.0.9", &["192.0.2.66", "10.0.0.8"]), "10.0.0.8");
        assert_eq!(client("172.16.0.0/12", &["192.0.2.1"]), "10.0.0.9");
        assert_eq!(client("1", &["::ffff:192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        let both = "https://desk.example.org, http://localhost:3000";
        let listed = ["https://desk.example.org", "http://localhost:3000"].map(str::to_owned);
        assert_eq!(read("CORS_ORIGINS", both).unwrap().origins, Origins::Only(listed.into()));
        assert_eq!(read("CORS_ORIGINS", "*").unwrap().origins, Origins::All);
        assert_eq!(read("CORS_ORIGINS", "").unwrap().origins, Origins::Only(Vec::new()));
        for wrong in ["https://desk.example.org/", "desk.example.org", "null", "https://a, *", "ftp://a"] {
            assert!(read("CORS_ORIGINS", wrong).unwrap_err().to_string().contains("must be"), "{wrong}");
        }
    }

    #[test]
    fn no_limit_is_written_as_nought() {
        assert_eq!(read("", "").unwrap().per_minute.map(NonZeroU32::get), Some(6_000));
        assert_eq!(read("RATE_LIMIT_PER_MINUTE", "0").unwrap().per_minute, None);
        assert!(read("RATE_LIMIT_PER_MINUTE", "-1").is_err() && read("TRUSTED_PROXIES", "all").is_err());
    }
}
