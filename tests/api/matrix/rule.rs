//! The rules of a policy.

/// What a policy asks for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Inactive,
    Expired,
    OtherGrant,
    NoGrant,
    Trust,
    Attestation,
    Depth,
}

impl Rule {
    pub const ALL: [Self; 7] = [
        Self::Inactive,
        Self::Expired,
        Self::OtherGrant,
        Self::NoGrant,
        Self::Trust,
        Self::Attestation,
        Self::Depth,
    ];
}
