//! How many requests of the token path are worked on at the same time. Who comes beyond that is told so at once, before his
//! request is read: what waits in line costs memory and is answered late.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::kit::error::{Kind, Result, refuse};

/// The places of one server: some for requests for tokens, as many for looks at tokens, so that neither crowds the other
/// out. Revocation and administration need none.
#[derive(Debug)]
pub struct Admission {
    tokens: Semaphore,
    looks: Semaphore,
}

impl Admission {
    /// So many places of each kind.
    pub fn new(places: usize) -> Self {
        Self { tokens: Semaphore::new(places), looks: Semaphore::new(places) }
    }

    /// A place for a request to this path, if it needs one. It is free again when it is dropped.
    pub fn enter(&self, path: &str) -> Result<Option<SemaphorePermit<'_>>> {
        let places = match path {
            "/oauth2/token" => &self.tokens,
            "/oauth2/token/introspect" | "/oauth2/token/verify" => &self.looks,
            _ => return Ok(None),
        };
        let why = "the server has more requests than it can serve; try again shortly";
        places.try_acquire().map(Some).map_err(|_| refuse(Kind::Unavailable, why))
    }
}

#[cfg(test)]
mod tests {
    use super::Admission;

    #[test]
    fn each_kind_has_its_own_places_and_gives_them_back() {
        let admission = Admission::new(1);
        let place = admission.enter("/oauth2/token");
        assert!(matches!(place, Ok(Some(_))));
        assert!(admission.enter("/oauth2/token").is_err());
        let look = admission.enter("/oauth2/token/introspect");
        assert!(matches!(look, Ok(Some(_))));
        assert!(admission.enter("/oauth2/token/verify").is_err());
        assert!(matches!(admission.enter("/oauth2/token/revoke"), Ok(None)));
        drop(place);
        assert!(admission.enter("/oauth2/token").is_ok());
    }
}
