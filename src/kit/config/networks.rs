//! A list of networks, written as text: `10.0.0.0/8, 192.0.2.7`.
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Networks in the order in which they were written. None contains no address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether one of them holds the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Networks from a list that has one in each item.
    pub fn of(items: &[String]) -> Result<Self, String> {
        let network = |item: &String| {
            network(item).ok_or("expected one network in each item, such as 10.0.0.0/8 or 192.0.2.7")
        };
        Ok(Self(items.iter().map(network).collect::<Result<_, _>>()?))
    }

    /// Each network as text.
    pub fn items(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse()).ok()
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| {
            network(part).ok_or("expected networks separated by commas, such as 10.0.0.0/8, 192.0.2.7")
        };
        Ok(Self(parts.map(network).collect::<Result<_, _>>()?))
    }
}

impl TryFrom<String> for Networks {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Networks> for String {
    fn from(networks: Networks) -> Self {
        networks.items().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_from_text() {
        let networks: Networks = "10.0.0.0/8, 192.0.2.7,2001:db8::/32".parse().unwrap();
        for (address, within) in [
            ("10.9.9.9", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("::1", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), within, "{address}");
        }
        assert!("10.0.0.0/33".parse::<Networks>().is_err());
        assert!("".parse::<Networks>().unwrap().is_empty());
        let listed =
            |items: &[&str]| Networks::of(&items.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(listed(&["10.0.0.0/8", "::1"]).unwrap().items(), ["10.0.0.0/8", "::1/128"]);
        for bad in ["", " ", "10.0.0.1,10.0.0.2", "10.0.0.0/33", "example.com"] {
            assert!(listed(&[bad]).is_err(), "{bad:?}");
        }
    }
}
