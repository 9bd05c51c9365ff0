//! What a request for a token must get: the token, or a refusal for one of the reasons that hold. Which of several reasons
//! is told is the server's choice.

use std::collections::BTreeSet;

use time::Duration;

use crate::model::{Key, Model, Policy, Token};
use crate::scopes::{Ceiling, Grant, Scopes};

/// The server's default lifetime.
const DEFAULT_TTL: i64 = 3600;
/// The longest chain, whatever a policy says.
const DEEPEST: i32 = 64;

/// Codes of refusals, as OAuth has them.
pub type Reasons = BTreeSet<&'static str>;

/// A request for a token, resolved: who is to hold it, and what it rests on.
#[derive(Clone, Debug)]
pub struct Wish {
    pub grant: Grant,
    pub holder: usize,
    pub scopes: Scopes,
    pub audience: Vec<&'static str>,
    pub seconds: Option<i64>,
    pub key: Option<usize>,
    pub client: Option<usize>,
    pub parent: Option<usize>,
    /// A further ceiling: of a may-act grant, or of the credential that is replaced.
    pub within: Ceiling,
    /// Who alone is to act for the holder.
    pub may_act: Option<usize>,
    /// Reasons against it that lie in the request itself.
    pub reasons: Reasons,
}

impl Wish {
    pub fn new(grant: Grant, holder: usize, scopes: Scopes) -> Self {
        Self {
            grant,
            holder,
            scopes,
            audience: vec![crate::server::ISSUER],
            seconds: None,
            key: None,
            client: None,
            parent: None,
            within: None,
            may_act: None,
            reasons: Reasons::new(),
        }
    }
}

impl Model {
    /// The token that the wish must get, its jti yet unknown, or why it must get none.
    pub fn judge(&self, wish: &Wish) -> Result<Token, Reasons> {
        let mut reasons = wish.reasons.clone();
        if !self.tenant_active || !self.is_usable(wish.holder) {
            reasons.insert("invalid_grant");
        }
        let depth = wish.parent.map_or(0, |parent| self.tokens[parent].depth + 1);
        if depth > DEEPEST || self.policies_over(wish).any(|policy| !self.allows(policy, wish, depth)) {
            reasons.insert("policy_violation");
        }
        let scopes = self.granted(wish);
        if scopes.is_none() {
            reasons.insert("invalid_scope");
        }
        let issued = self.now.replace_nanosecond(0).unwrap();
        let seconds = self.policies_over(wish).map(|policy| policy.rules.ttl).chain([self.asked(wish)]).min();
        let bounds = self.bounds(wish).map(|end| end.replace_nanosecond(0).unwrap());
        let expires = bounds.chain([issued + Duration::seconds(seconds.unwrap())]).min().unwrap();
        if expires <= self.now {
            reasons.insert("invalid_grant");
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let acts = |parent: usize| usize::from(self.tokens[parent].holder != wish.holder);
        Ok(Token {
            jti: String::new(),
            kid: String::new(),
            grant: wish.grant,
            holder: wish.holder,
            key: wish.key,
            client: wish.client,
            parent: wish.parent,
            depth,
            actors: wish.parent.map_or(0, |parent| self.tokens[parent].actors + acts(parent)),
            scopes: scopes.unwrap(),
            audience: wish.audience.clone(),
            may_act: wish.may_act,
            issued,
            expires,
            ended: false,
        })
    }

    fn policies_over(&self, wish: &Wish) -> impl Iterator<Item = &Policy> {
        let key = wish.key.map(|key| self.keys[key].policy);
        [self.agents[wish.holder].policy].into_iter().chain(key).map(|policy| &self.policies[policy])
    }

    fn allows(&self, policy: &Policy, wish: &Wish, depth: i32) -> bool {
        let rules = &policy.rules;
        rules.active
            && !self.is_past(policy.ends)
            && rules.grants.contains(wish.grant)
            && self.agents[wish.holder].trust >= rules.trust
            && depth <= rules.depth
    }

    fn asked(&self, wish: &Wish) -> i64 {
        let of_client = wish.client.map(|client| self.clients[client].ttl).filter(|seconds| *seconds > 0);
        wish.seconds.or(of_client).unwrap_or(DEFAULT_TTL)
    }

    fn bounds(&self, wish: &Wish) -> impl Iterator<Item = chancery::kit::clock::Time> {
        let key = wish.key.and_then(|key| self.keys[key].ends);
        let parent = wish.parent.map(|parent| self.stands_until(parent));
        [self.agents[wish.holder].ends, key, parent].into_iter().flatten()
    }

    /// Every layer that restricts, each for itself.
    pub fn layers(&self, wish: &Wish) -> Vec<Scopes> {
        let parent = wish.parent.map(|parent| self.tokens[parent].scopes);
        let client = wish.client.map(|client| self.clients[client].scopes);
        let key = wish.key.and_then(|key| self.keys[key].scopes);
        let policies = self.policies_over(wish).map(|policy| policy.rules.scopes);
        let layers = [parent, client, key, wish.within, self.agents[wish.holder].allowed];
        layers.into_iter().chain(policies).flatten().collect()
    }

    /// What is left of the scopes that were asked for; `None` where nothing may be granted of them.
    fn granted(&self, wish: &Wish) -> Option<Scopes> {
        let ceiling = self.layers(wish).into_iter().reduce(|all, layer| all & layer);
        if wish.grant == Grant::TokenExchange && wish.parent.is_some() {
            // Only what was named is delegated.
            let granted = self.beside(wish, wish.scopes & ceiling.unwrap());
            return Some(granted).filter(|granted| !granted.is_empty());
        }
        if wish.scopes.is_empty() {
            return Some(self.beside(wish, ceiling.unwrap_or_default()));
        }
        let granted = ceiling.map_or(wish.scopes.without_reserved(), |ceiling| wish.scopes & ceiling);
        let granted = Some(granted).filter(|granted| !granted.is_empty() || wish.scopes.is_reserved())?;
        Some(self.beside(wish, granted))
    }

    /// What administers is granted only under an own ceiling that names it: a client beside somebody else's grant, a
    /// parent or a may-act grant adds nothing.
    fn beside(&self, wish: &Wish, granted: Scopes) -> Scopes {
        let key = wish.key.and_then(|key| self.keys[key].scopes);
        let client = wish.client.filter(|_| wish.grant == Grant::ClientCredentials);
        let client = client.map(|client| self.clients[client].scopes);
        let policies = self.policies_over(wish).map(|policy| policy.rules.scopes);
        let mut own = [key, client, self.agents[wish.holder].allowed].into_iter().chain(policies);
        if own.any(|layer| layer.is_some()) { granted } else { granted.without_reserved() }
    }

    /// The rules that hold of every token, each asked for itself and of what was really issued.
    pub fn check_bounds(&self, wish: &Wish, token: &Token) -> Result<(), String> {
        let mut faults = Vec::new();
        let mut hold = |holds: bool, what: &str| {
            if !holds {
                faults.push(what.to_owned());
            }
        };
        hold(wish.scopes.is_empty() || token.scopes.within(wish.scopes), "more than was asked for");
        for layer in self.layers(wish) {
            hold(token.scopes.within(layer), &format!("more than the layer {layer:?} allows"));
        }
        let named = self.layers(wish).iter().any(|layer| layer.has_reserved());
        hold(named || !token.scopes.has_reserved(), "a reserved scope that no layer names");
        for policy in self.policies_over(wish) {
            let ttl = (token.expires - token.issued).whole_seconds();
            hold(ttl <= policy.rules.ttl, "longer than a policy allows");
            hold(token.depth <= policy.rules.depth.min(DEEPEST), "deeper than a policy allows");
        }
        hold(self.bounds(wish).all(|end| token.expires <= end), "longer than what it rests on");
        hold(token.expires > self.now, "expired at birth");
        if let Some(parent) = wish.parent.map(|parent| &self.tokens[parent]) {
            hold(token.depth == parent.depth + 1, "not one deeper than its parent");
            hold(token.expires <= parent.expires, "longer than its parent");
            let inside = token.audience.iter().all(|audience| parent.audience.contains(audience));
            hold(inside, "an audience that its parent lacks");
        }
        if faults.is_empty() { Ok(()) } else { Err(format!("{faults:?} of {token:?} for {wish:?}")) }
    }

    /// Why the client may not use the grant with this secret.
    pub fn client_reasons(&self, client: usize, secret: usize, grant: Grant) -> Reasons {
        let mut reasons = Reasons::new();
        if !self.accepts(client, secret) {
            reasons.insert("invalid_client");
        }
        if !self.clients[client].grants.contains(grant) {
            reasons.insert("unauthorized_client");
        }
        reasons
    }

    /// By what right an agent acts for the subject, and within which scopes; `None` where there is no right. Where the
    /// token names who may act, nobody else may. One who signs needs no more, nor does a client for its own; any other
    /// client needs a grant, of which the newest with hops left decides.
    pub fn right(&self, actor: usize, client: Option<usize>, subject: usize, signs: bool) -> Option<Ceiling> {
        let token = &self.tokens[subject];
        if token.may_act.is_some() {
            return Some(None).filter(|_| token.may_act == Some(actor));
        }
        if signs {
            return Some(None);
        }
        if token.holder == actor || token.client == client {
            return Some(None);
        }
        let principals = [token.holder, self.tokens[self.root(subject)].holder];
        let grant = self.may_acts.iter().rev().find(|grant| {
            grant.live
                && grant.actor == actor
                && principals.contains(&grant.principal)
                && token.actors < grant.hops
        });
        grant.map(|grant| grant.scopes)
    }

    /// Whether a policy may stand over a key of an agent under the other one.
    pub fn is_subset(&self, key: usize, identity: usize) -> bool {
        let (key, identity) = (&self.policies[key].rules, &self.policies[identity].rules);
        let scopes = match (key.scopes, identity.scopes) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(key), Some(identity)) => key.within(identity),
        };
        scopes
            && key.grants.within(identity.grants)
            && key.trust >= identity.trust
            && key.ttl <= identity.ttl
            && key.depth <= identity.depth
    }

    /// The newest key of an agent, a live one before a dead one.
    pub fn newest_key(&self, agent: usize) -> Option<&Key> {
        let of_agent = || self.keys.iter().rev().filter(|key| key.agent == agent);
        of_agent().find(|key| key.state == crate::model::KeyState::Live).or_else(|| of_agent().next())
    }
}
