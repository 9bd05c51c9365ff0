//! Redirect URIs: which are registered, and where a code then goes.

use chancery::clients::{check_redirects, redirect_matches, redirect_same};
use chancery::kit::config::Limits;
use proptest::prelude::*;
use proptest::sample::select;

use crate::inputs::{around, changed};
use crate::run::fuzz;

const PIECES: &[&str] = &[
    "http://",
    "https://",
    "HTTP://",
    "com.example.app:",
    "javascript:",
    "data:text/html,",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    ".evil.example",
    "@evil.example",
    "\\@evil.example",
    "/cb",
    "..;/",
    ":3000",
    ":03000",
    ":80",
    "#x",
];

/// Where a lawful URI of ours may lead: a site, a program on this device, an application.
fn uris() -> BoxedStrategy<String> {
    let port = || select(vec!["", ":1", ":3000", ":65535"]);
    let rest = || "(/[a-z.~-]{1,4}){1,2}(\\?[a-z=&]{1,6})?";
    let device = (select(vec!["127.0.0.1", "localhost", "[::1]"]), port(), rest())
        .prop_map(|(host, port, rest)| format!("http://{host}{port}{rest}"));
    let site = ("[a-z]{1,6}\\.example", port(), rest())
        .prop_map(|(host, port, rest)| format!("https://{host}{port}{rest}"));
    let application =
        ("[a-z]{2,3}\\.[a-z]{2,5}", rest()).prop_map(|(scheme, rest)| format!("{scheme}:{rest}"));
    prop_oneof![3 => device, 2 => site, 1 => application]
        .prop_filter("no dot segment", |uri| !uri.contains("/.") && uri.matches("..").next().is_none())
        .boxed()
}

/// Port and the rest, where a text names a program on this device in one of the three ways, by hand.
fn on_device(text: &str) -> Option<(&str, &str)> {
    let after = text.strip_prefix("http://")?;
    let after = ["127.0.0.1", "localhost", "[::1]"].iter().find_map(|host| after.strip_prefix(host))?;
    let (port, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
    let spelled =
        |number: &str| number.parse::<u16>().is_ok_and(|port| port != 80 && port.to_string() == number);
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(spelled);
    is_port.then_some((port, if rest.is_empty() { "/" } else { rest }))
}

#[test]
fn uris_that_are_registered_lead_where_they_say() {
    fuzz(&around(&uris(), PIECES), |text| {
        let taken = check_redirects(std::slice::from_ref(&text), &Limits::default()).is_ok();
        if taken {
            let (scheme, after) = text.split_once(':').unwrap();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "a sign");
            let authority =
                after.strip_prefix("//").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
            match scheme {
                "https" => prop_assert!(authority.is_some_and(|host| !host.is_empty())),
                "http" => {
                    let host = authority.unwrap_or_default();
                    let host =
                        host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(host, _)| host);
                    let is_local = ["localhost", "[::1]"].contains(&host)
                        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|four| four.octets()[0] == 127);
                    prop_assert!(is_local, "http to another host");
                }
                own => {
                    prop_assert!(own.contains('.') && !own.contains(|char: char| char.is_ascii_uppercase()));
                }
            }
            prop_assert!(!authority.unwrap_or_default().contains(['@', '\\']), "a user");
        }
        Ok(taken)
    });
}

#[test]
fn a_code_goes_to_the_registered_uri_or_to_another_port_of_this_device() {
    let pair = (uris(), uris(), any::<bool>()).prop_flat_map(|(one, other, alike)| {
        let asked = changed(Just(if alike { one.clone() } else { other }).boxed(), PIECES);
        (Just(one), asked)
    });
    fuzz(&pair, |(registered, asked)| {
        let taken = redirect_matches(&registered, &asked);
        if taken && registered != asked {
            let (known, found) = (on_device(&registered), on_device(&asked));
            prop_assert!(known.is_some() && known.map(|(_, rest)| rest) == found.map(|(_, rest)| rest));
        }
        if redirect_same(&registered, &asked) {
            prop_assert!(taken);
            prop_assert!(registered == asked || on_device(&registered) == on_device(&asked));
        }
        prop_assert_eq!(redirect_matches(&asked, &registered), taken);
        Ok(taken)
    });
}
