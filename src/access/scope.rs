//! Scopes (RFC 6749 section 3.3) and the one way in which they shrink.

use utoipa::ToSchema;

use crate::kit::cx::Caller;
use crate::kit::error::{Kind, Result, refuse, refuse_at};

/// Scopes in the order in which they were asked for, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

/// A scope.
#[derive(ToSchema)]
#[schema(pattern = r"^[!#-\[\]-~]{1,255}$")]
pub struct ScopeName(pub String);

/// What a layer allows. `None`: the layer does not restrict. An empty set: nothing at all.
pub type Ceiling = Option<Scopes>;

impl Scopes {
    /// Parses the space-separated form of a request, at most `most` scopes.
    pub fn parse(text: &str, most: usize) -> Result<Self> {
        Self::of(text.split(' ').filter(|scope| !scope.is_empty()).take(most + 1), most)
    }

    /// Takes a list, checks each member and drops repetitions.
    pub fn of<'a>(scopes: impl IntoIterator<Item = &'a str>, most: usize) -> Result<Self> {
        let mut all: Vec<String> = Vec::new();
        for (count, scope) in scopes.into_iter().enumerate() {
            if count >= most {
                return Err(refuse(Kind::InvalidScope, format!("more than {most} scopes")));
            }
            if !is_token(scope) {
                return Err(refuse(
                    Kind::InvalidScope,
                    "a scope has 1 to 255 printable ASCII characters, without space, quote or backslash",
                ));
            }
            if !all.iter().any(|known| known == scope) {
                all.push(scope.to_owned());
            }
        }
        Ok(Self(all))
    }

    /// A layer as stored: no row value and the empty list both mean that it does not restrict.
    pub fn ceiling(stored: Option<Vec<String>>) -> Ceiling {
        stored.filter(|scopes| !scopes.is_empty()).map(Self)
    }

    /// A list as stored, where none means nothing.
    pub fn stored(scopes: Vec<String>) -> Self {
        Self(scopes)
    }

    /// Whether `scope` is among them.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|known| known == scope)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The list, for JSON arrays and rows.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The space-separated form.
    pub fn joined(&self) -> String {
        self.0.join(" ")
    }

    /// Those that do not administer the server.
    #[must_use]
    pub fn without_reserved(self) -> Self {
        self.keep(|scope| !is_reserved(scope))
    }

    fn keep(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|scope| keep(scope));
        self
    }
}

/// Scopes that administer the server itself. They are in no open ceiling, and nobody may write one into a ceiling, a
/// key or a client unless he holds it.
pub fn is_reserved(scope: &str) -> bool {
    matches!(scope, "nhi:manage" | "credentials:manage" | "client:register" | "admin")
        || ["vault:", "audit:", "admin:"].iter().any(|space| scope.starts_with(space))
}

/// What all layers together allow.
pub fn intersect(layers: impl IntoIterator<Item = Ceiling>) -> Ceiling {
    layers.into_iter().flatten().reduce(|all, layer| all.keep(|scope| layer.contains(scope)))
}

/// What is granted of a request under a ceiling. Nothing asked for means the whole of a restricting ceiling.
/// Asking only for reserved scopes that are not held gives a token without scopes, since clients ask for them before
/// every administrative call; asking only for other scopes that are not held is refused.
pub fn narrow(requested: &Scopes, ceiling: Ceiling) -> Result<Scopes> {
    if requested.is_empty() {
        return Ok(ceiling.unwrap_or_default());
    }
    let granted = requested.clone().keep(|scope| match &ceiling {
        Some(ceiling) => ceiling.contains(scope),
        None => !is_reserved(scope),
    });
    if granted.is_empty() && !requested.iter().all(is_reserved) {
        return Err(refuse(Kind::InvalidScope, "none of the scopes asked for may be granted"));
    }
    Ok(granted)
}

/// What is granted under `own`, the ceiling of whoever presents a grant. Those beside him narrow it and add nothing: a
/// reserved scope must stand in his own.
pub fn narrow_beside(
    requested: &Scopes,
    own: Ceiling,
    beside: impl IntoIterator<Item = Ceiling>,
) -> Result<Scopes> {
    let open = own.is_none();
    let granted = narrow(requested, intersect(beside.into_iter().chain([own])))?;
    Ok(if open { granted.without_reserved() } else { granted })
}

/// Refuses scopes for a ceiling that hold a reserved one the caller does not hold himself.
pub fn check_grantable(scopes: &Scopes, at: &'static str, holds: impl Fn(&str) -> bool) -> Result<()> {
    match scopes.iter().find(|scope| is_reserved(scope) && !holds(scope)) {
        None => Ok(()),
        Some(scope) => {
            let why = format!("{scope} is reserved: only a caller that holds it may pass it on");
            Err(refuse_at(Kind::InsufficientScope, why, at, scope))
        }
    }
}

/// Refuses a ceiling by which the caller would hand out a reserved scope that he does not hold himself.
pub fn check_held(caller: &Caller, ceiling: Ceiling, at: &'static str) -> Result<()> {
    check_grantable(&ceiling.unwrap_or_default(), at, |scope| caller.holds(scope))
}

fn is_token(scope: &str) -> bool {
    (1..=255).contains(&scope.len())
        && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::parse(text, 100).unwrap()
    }

    #[test]
    fn an_open_ceiling_grants_what_is_asked_but_nothing_reserved() {
        assert_eq!(narrow(&scopes("a nhi:manage vault:read b"), None).unwrap(), scopes("a b"));
        assert_eq!(narrow(&scopes(""), None).unwrap(), scopes(""));
        assert_eq!(narrow(&scopes("nhi:manage credentials:manage"), None).unwrap(), scopes(""));
    }

    #[test]
    fn nothing_left_never_grows_back() {
        let ceiling = intersect([Some(scopes("a b")), None, Some(scopes("c"))]);
        assert_eq!(ceiling, Some(Scopes::default()));
        assert!(narrow(&scopes("a"), ceiling.clone()).is_err());
        assert!(narrow(&scopes(""), ceiling).unwrap().is_empty());
    }

    #[test]
    fn a_ceiling_that_names_a_reserved_scope_grants_it() {
        assert_eq!(
            narrow(&scopes("nhi:manage credentials:manage"), Some(scopes("nhi:manage"))).unwrap(),
            scopes("nhi:manage")
        );
        assert!(check_grantable(&scopes("a nhi:manage"), "body.scopes", |_| false).is_err());
        assert!(check_grantable(&scopes("a nhi:manage"), "body.scopes", |_| true).is_ok());
        assert!(check_grantable(&scopes("a"), "body.scopes", |_| false).is_ok());
    }

    #[test]
    fn scopes_are_bounded_and_plain() {
        assert!(Scopes::parse(&"x ".repeat(101), 100).is_err());
        assert!(Scopes::parse(&"y".repeat(256), 100).is_err());
        for bad in ["a\"b", "a\\b", "a\tb", "ä"] {
            assert!(Scopes::parse(bad, 100).is_err(), "{bad}");
        }
        assert_eq!(scopes("b a b").joined(), "b a");
    }

    proptest! {
        #[test]
        fn granted_is_within_every_layer_and_the_request(
            requested in "([a-e] ?){0,6}", one in proptest::option::of("([a-e] ?){1,5}"), two in proptest::option::of("([a-e] ?){1,5}")
        ) {
            let requested = scopes(&requested);
            let layers = [one.map(|text| scopes(&text)), two.map(|text| scopes(&text))];
            if let Ok(granted) = narrow(&requested, intersect(layers.clone())) {
                for scope in granted.iter() {
                    prop_assert!(requested.is_empty() || requested.contains(scope));
                    prop_assert!(layers.iter().flatten().all(|layer| layer.contains(scope)));
                }
            }
        }
    }
}
