//! What each cell must say. Nothing here is measured: it follows from the papers, state by state.

use super::Moment;
use super::rule::Rule;
use super::state::State;
use super::trust::Trust;
use super::way::{Part, Way};

/// What a cell must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Refused with this status and, on the OAuth side, this code. The audit log names whoever is known by then.
    Refused { status: u16, code: &'static str, row: Option<&'static str> },
    /// Nothing stands against it, and why.
    Passes(&'static str),
    /// There is no such cell, and why.
    Senseless(&'static str),
}

use State as S;

/// A refusal on the OAuth side, of somebody who is known.
fn known(way: Way, code: &'static str) -> Verdict {
    Verdict::Refused { status: 400, code, row: Some(way.principal()) }
}

/// Of a client that did not authenticate: nobody is known.
const NO_CLIENT: Verdict = Verdict::Refused { status: 401, code: "invalid_client", row: None };

/// On the admin side.
fn problem(status: u16) -> Verdict {
    Verdict::Refused { status, code: "", row: Some("open") }
}

/// The verdict of a cell.
pub fn verdict(way: Way, state: State, moment: Moment) -> Verdict {
    let part = state.part();
    if (way == Way::Code) != (moment == Moment::Redeem) {
        return Verdict::Senseless("a code comes before its redemption, and nothing else has one");
    }
    if !way.rests_on(part) {
        return Verdict::Senseless(match part {
            Part::Client => "no client takes part",
            Part::ApiKey | Part::KeyPolicy => "no API key takes part",
            Part::Parent => "it comes from no other token",
            Part::MayAct => "no may-act grant is asked for",
            Part::Person => "no person agreed to anything",
            Part::Issuer => "nobody outside vouches for anybody",
            Part::Tenant | Part::Agent | Part::Policy => "every credential rests on this",
        });
    }
    match part {
        // A client of a suspended tenant is answered like one that is unknown.
        Part::Tenant if way.proof().is_some() => NO_CLIENT,
        // What is to be rotated does not stand any more: a conflict, whatever the reason.
        Part::Tenant | Part::Agent if way.is_rotation() => problem(409),
        Part::Tenant | Part::Agent if way == Way::Issue => problem(400),
        Part::Person if way == Way::IdToken => of_person(way, state),
        Part::Tenant | Part::Agent | Part::Person => known(way, "invalid_grant"),
        Part::Issuer => of_issuer(way, state),
        Part::Client => of_client(way, state),
        Part::ApiKey => of_key(way, state),
        Part::Policy | Part::KeyPolicy => of_policy(way, state),
        Part::Parent => of_parent(way, state),
        Part::MayAct if state == S::GrantOfOtherScopes => known(way, "invalid_scope"),
        Part::MayAct => Verdict::Refused { status: 403, code: "access_denied", row: Some("client") },
    }
}

fn of_client(way: Way, state: State) -> Verdict {
    let rotates = way == Way::RotateClients;
    match state {
        S::ClientInactive | S::ClientDeleted if rotates => problem(409),
        S::ClientWithoutGrant | S::ClientWithoutScopes if rotates => problem(400),
        S::ClientWrongSecret | S::ClientOldSecret if rotates => {
            Verdict::Senseless("an administrator rotates: the client presents nothing")
        }
        S::ClientPublic if rotates => {
            Verdict::Senseless("a client's kind never changes, and a public one obtains nothing by itself")
        }
        S::ClientWithoutGrant => {
            Verdict::Refused { status: 400, code: "unauthorized_client", row: Some("client") }
        }
        S::ClientWithoutScopes => known(way, "invalid_scope"),
        S::ClientPublic => match way {
            Way::Code => Verdict::Passes("the verifier proves enough"),
            Way::Refresh => {
                Verdict::Passes("the refresh token proves enough; a public client only names itself")
            }
            Way::ApiKeyNamed => Verdict::Passes("the API key proves enough; the client only names itself"),
            Way::MayAct | Way::Own | Way::IdToken => {
                Verdict::Refused { status: 400, code: "invalid_request", row: None }
            }
            _ => known(way, "unauthorized_client"),
        },
        _ => NO_CLIENT,
    }
}

fn of_key(way: Way, state: State) -> Verdict {
    match (way, state) {
        (Way::RotateKeys, _) => problem(409),
        (Way::ApiKey, S::KeyUnknown) => Verdict::Refused { status: 400, code: "invalid_grant", row: None },
        // The key tells nobody, but the client did.
        (_, S::KeyUnknown) => Verdict::Refused { status: 400, code: "invalid_grant", row: Some("client") },
        _ => known(way, "invalid_grant"),
    }
}

fn of_policy(way: Way, state: State) -> Verdict {
    let depth = matches!(state, S::Policy(Rule::Depth) | S::KeyPolicy(Rule::Depth));
    if depth && !way.is_exchange() {
        return Verdict::Senseless("a root has the depth 0, which every policy allows");
    }
    if way.grant().is_none() { problem(403) } else { known(way, "policy_violation") }
}

fn of_parent(way: Way, state: State) -> Verdict {
    match state {
        S::ParentClientInactive | S::ParentClientRevoked | S::ParentKeyRevoked
            if way == Way::BelowWorkload =>
        {
            Verdict::Senseless("a workload obtained the subject token, without a client or an API key")
        }
        S::ParentClientInactive if way == Way::Own => NO_CLIENT,
        _ => known(way, "invalid_grant"),
    }
}

fn of_person(way: Way, state: State) -> Verdict {
    match state {
        S::PersonInNewEpoch => Verdict::Passes("what is obtained anew is of the new epoch"),
        S::ConsentRevoked => Verdict::Refused { status: 403, code: "access_denied", row: Some("client") },
        _ => known(way, "invalid_grant"),
    }
}

fn of_issuer(way: Way, state: State) -> Verdict {
    let ends = matches!(state, S::Issuer(trust) if Trust::ends(trust));
    match way {
        Way::WorkloadClient => NO_CLIENT,
        // A token that nobody signed tells nobody. The client that authenticated is known.
        Way::WorkloadJwt | Way::WorkloadExchange => {
            Verdict::Refused { status: 400, code: "invalid_grant", row: None }
        }
        Way::IdToken => known(way, "invalid_grant"),
        _ if !ends => Verdict::Passes("keys and rules are for tokens to come"),
        Way::RotateWorkloads => problem(409),
        _ => known(way, "invalid_grant"),
    }
}
