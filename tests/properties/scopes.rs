//! Sets over the few words of the small world: scopes and grants, a bit each. They print as words, so that a shrunk history
//! can be read.

use std::fmt;
use std::ops::BitAnd;

use serde_json::{Value, json};

/// The scopes of the world; the last one administers the server.
const SCOPES: [&str; 5] = ["a", "b", "c", "d", "vault:read"];

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

/// What a layer allows; `None` does not restrict.
pub type Ceiling = Option<Scopes>;

impl Scopes {
    /// Every set is one of the first that many numbers.
    pub const SETS: u8 = 1 << SCOPES.len();
    /// The scope that nobody holds openly.
    const RESERVED: Self = Self(1 << (SCOPES.len() - 1));

    /// A set by its number.
    pub fn numbered(number: u8) -> Self {
        Self(number % Self::SETS)
    }

    /// The set of a list. A scope that the world does not know is a mistake of the server.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name: &str| 1 << SCOPES.iter().position(|scope| *scope == name).unwrap();
        Self(names.into_iter().map(bit).fold(0, |all: u8, bit: u8| all | bit))
    }

    /// The set of a JSON array; an absent one is empty.
    pub fn of_json(list: &Value) -> Self {
        Self::of(list.as_array().into_iter().flatten().map(|scope| scope.as_str().unwrap()))
    }

    /// The names.
    pub fn names(self) -> Vec<&'static str> {
        SCOPES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name).collect()
    }

    /// As a parameter.
    pub fn joined(self) -> String {
        self.names().join(" ")
    }

    /// As a JSON array.
    pub fn json(self) -> Value {
        json!(self.names())
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn within(self, other: Self) -> bool {
        self & other == self
    }

    pub fn is_reserved(self) -> bool {
        self.within(Self::RESERVED)
    }

    pub fn without_reserved(self) -> Self {
        Self(self.0 & !Self::RESERVED.0)
    }

    pub fn has_reserved(self) -> bool {
        !(self & Self::RESERVED).is_empty()
    }
}

impl BitAnd for Scopes {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.joined())
    }
}

/// How a token is obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    ApiKey,
    ClientCredentials,
    JwtBearer,
    TokenExchange,
}

impl Grant {
    pub const ALL: [Self; 4] = [Self::ApiKey, Self::ClientCredentials, Self::JwtBearer, Self::TokenExchange];

    /// The short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer => "jwt_bearer",
            Self::TokenExchange => "token_exchange",
        }
    }
}

/// A set of grants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Grants(u8);

impl Grants {
    pub const ALL: Self = Self(15);

    /// A set by its number.
    pub fn numbered(number: u8) -> Self {
        Self(number & 15)
    }

    pub fn contains(self, grant: Grant) -> bool {
        self.0 & (1 << grant as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn within(self, other: Self) -> bool {
        self.0 & other.0 == self.0
    }

    pub fn names(self) -> Vec<&'static str> {
        Grant::ALL.into_iter().filter(|grant| self.contains(*grant)).map(Grant::name).collect()
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.names().join(" "))
    }
}
