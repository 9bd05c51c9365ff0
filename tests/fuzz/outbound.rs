//! The URLs from which something may be fetched, and the addresses that their names may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chancery::kit::config;
use chancery::kit::outbound::{Failed, Outbound, Resolver, Target, is_public};
use proptest::prelude::*;
use proptest::sample::select;
use url::Host;

use crate::inputs::around;
use crate::run::fuzz;

/// The networks of the second guard, which are not public and may be fetched from.
const ALLOWED: &str = "10.1.0.0/16, fd12::/16";

const PIECES: &[&str] = &[
    "https://",
    "http://",
    "HTTPS:",
    "https:\\\\",
    "ftp:",
    "localhost",
    ".localhost",
    "127.0.0.1",
    "127.1",
    "0177.0.0.1",
    "0x7f000001",
    "2130706433",
    "169.254.169.254",
    "10.1.2.3",
    "1.1.1.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2606:4700::1111]",
    "[fe80::1%25eth0]",
    "user:password@",
    ":@",
    ":8443",
    ":0443",
    ":80",
    "a.example",
    "%61.example",
    "ａ.example",
];

fn guard(allowed: &str) -> Outbound {
    let allow_private = allowed.parse().unwrap();
    Outbound::open(&config::Outbound { allow_private, ..config::Outbound::default() }).unwrap()
}

/// The addresses that are not public, as the registries write them: the first and the last of each range.
const SPECIAL: [(&str, &str); 21] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
    ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/// Whether an address belongs to the Internet, by the ranges above. Two forms of IPv6 hold one of IPv4.
fn belongs_to_internet(address: IpAddr) -> bool {
    if let IpAddr::V6(six) = address
        && let [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] = six.segments()
    {
        let four = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
        return belongs_to_internet(four.into());
    }
    !SPECIAL.iter().any(|(first, last)| {
        let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
        first.is_ipv4() == address.is_ipv4() && first <= address && address <= last
    })
}

/// Whether it lies in the networks of the second guard.
fn is_allowed(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => four.octets()[..2] == [10, 1],
        IpAddr::V6(six) => six.segments()[0] == 0xfd12,
    }
}

/// A URL taken apart by hand (RFC 3986).
struct Parts<'a> {
    authority: &'a str,
    host: &'a str,
    port: u16,
    rest: &'a str,
}

/// Takes apart what is written in the one way that is taken, or says what is wrong with it.
fn apart(text: &str) -> Result<Parts<'_>, &'static str> {
    let after = text.strip_prefix("https://").ok_or("the scheme")?;
    if text.len() > 2048 || !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return Err("a length, a character or a fragment");
    }
    let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
    if authority.contains(['@', '\\', '%', '<', '>', '^', '|']) || rest.starts_with('?') {
        return Err("a user, an escape or a sign in the authority, or no path");
    }
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[bracket..].split_once(':') {
        None => (authority, 443),
        Some((before, port)) => {
            let number: u16 = port.parse().map_err(|_| "no port")?;
            if number == 443 || number.to_string() != port {
                return Err("a port that is written in another way");
            }
            (&authority[..bracket + before.len()], number)
        }
    };
    let path = rest.split('?').next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    if path.contains('\\') || path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("a dot segment");
    }
    if host.is_empty() || host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("no host, or one in capitals");
    }
    Ok(Parts { authority, host, port, rest })
}

/// The address that a host is. A name whose last label is a number is one, or nothing at all.
fn literal(host: &str) -> Result<Option<IpAddr>, &'static str> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or("no bracket at the end")?;
        return inner.parse::<Ipv6Addr>().map(|six| Some(six.into())).map_err(|_| "no IPv6 address");
    }
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let digits = last.strip_prefix("0x").unwrap_or(last);
    let is_number = (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
        || (digits.len() < last.len() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_number {
        return Ok(None);
    }
    host.parse::<Ipv4Addr>().map(|four| Some(four.into())).map_err(|_| "a number that is no address")
}

/// The rule, read from the text alone.
fn judge<'a>(text: &'a str, target: &Target, is_open: impl Fn(IpAddr) -> bool) -> Result<(), &'a str> {
    let Parts { authority, host, port, rest } = apart(text)?;
    let local = host.trim_end_matches('.');
    let is_local = local == "localhost" || local.ends_with(".localhost");
    match literal(host)? {
        Some(address) if is_open(address) => {}
        Some(address) if !belongs_to_internet(address) => return Err("an address that is not public"),
        Some(_) if port != 443 && port != 8443 => return Err("another port"),
        None if is_local && !is_open(Ipv4Addr::new(10, 1, 0, 1).into()) => return Err("this machine"),
        Some(_) | None => {}
    }
    let asked = if rest.is_empty() { "/" } else { rest };
    let sent = (target.authority(), target.port(), target.path_and_query());
    if sent == (authority, port, asked) { Ok(()) } else { Err("something else would be asked for") }
}

fn urls() -> BoxedStrategy<String> {
    let host = prop_oneof![
        3 => "[a-z0-9-]{1,10}(\\.[a-z]{2,8}){1,3}\\.?",
        1 => any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).to_string()),
        1 => addresses().prop_map(spelled),
    ];
    let port = select(vec!["", "", "", ":8443", ":80", ":1", ":65535"]);
    (host, port, "(/[a-zA-Z0-9._~-]{0,6}){0,3}", "(\\?[a-z0-9=&/?]{0,9})?")
        .prop_map(|(host, port, path, query)| {
            let path = if path.is_empty() && !query.is_empty() { "/".to_owned() } else { path };
            format!("https://{host}{port}{path}{query}")
        })
        .boxed()
}

/// Addresses of both kinds, most of them in or beside a range that is special.
fn addresses() -> BoxedStrategy<IpAddr> {
    let edge = (select(&SPECIAL[..]), any::<bool>(), 0..3_u32).prop_map(|((first, last), begins, step)| {
        let edge: IpAddr = if begins { first } else { last }.parse().unwrap();
        match edge {
            IpAddr::V4(four) => {
                IpAddr::V4(Ipv4Addr::from(u32::from(four).wrapping_add(step).wrapping_sub(1)))
            }
            IpAddr::V6(six) => {
                IpAddr::V6(Ipv6Addr::from(u128::from(six).wrapping_add(step.into()).wrapping_sub(1)))
            }
        }
    });
    let held = (any::<u32>(), select(vec![0xffff_u128 << 32, 0x0064_ff9b << 96]))
        .prop_map(|(four, before)| IpAddr::V6(Ipv6Addr::from(before | u128::from(four))));
    prop_oneof![
        4 => edge,
        1 => any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        1 => any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
        1 => any::<u128>().prop_map(|bits| IpAddr::V6((bits >> 3 | 1 << 125).into())),
        2 => held,
        1 => any::<u16>().prop_map(|low| IpAddr::V4((0x0a01_0000 | u32::from(low)).into())),
    ]
    .boxed()
}

/// As it stands in a URL.
fn spelled(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => four.to_string(),
        IpAddr::V6(six) => Host::<String>::Ipv6(six).to_string(),
    }
}

#[test]
fn urls_that_are_taken_keep_the_rule() {
    let (strict, open) = (guard(""), guard(ALLOWED));
    fuzz(&around(&urls(), PIECES), |text| {
        let taken = strict.check(&text);
        if let Ok(target) = &taken {
            prop_assert_eq!(judge(&text, target, |_| false), Ok(()));
            prop_assert!(open.check(&text).is_ok(), "refused by the guard that allows more");
        }
        if let Ok(target) = open.check(&text) {
            prop_assert_eq!(judge(&text, &target, is_allowed), Ok(()));
        }
        Ok(taken.is_ok())
    });
}

#[test]
fn addresses_are_taken_where_they_belong_to_the_internet() {
    let (strict, open) = (guard(""), guard(ALLOWED));
    fuzz(&(addresses(), select(vec![443, 8443, 80, 22])), |(address, port)| {
        let public = belongs_to_internet(address);
        prop_assert_eq!(is_public(address), public);
        let port_text = if port == 443 { String::new() } else { format!(":{port}") };
        let url = format!("https://{}{port_text}/keys", spelled(address));
        let expected = public && (port == 443 || port == 8443);
        prop_assert_eq!(strict.check(&url).is_ok(), expected);
        prop_assert_eq!(open.check(&url).is_ok(), expected || is_allowed(address));
        Ok(expected)
    });
}

#[test]
fn a_name_with_one_address_that_is_not_public_is_not_asked() {
    let found: Arc<Mutex<Vec<IpAddr>>> = Arc::default();
    let given = found.clone();
    let resolver = Resolver::Given(Arc::new(move |_| given.lock().unwrap().clone()));
    let guard = guard("").with(resolver, Duration::from_secs(5));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    fuzz(&proptest::collection::vec(addresses(), 1..4), |list| {
        // Nothing in a test leaves this machine.
        if list.iter().copied().all(belongs_to_internet) {
            return Ok(true);
        }
        *found.lock().unwrap() = list;
        let fetched = runtime.block_on(guard.get("https://a.example/keys", 1000));
        prop_assert_eq!(fetched, Err(Failed::Refused));
        Ok(false)
    });
}
