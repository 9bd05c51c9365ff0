//! What ES256 alone costs: the floor under every issuance.

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use chancery::kit::clock::Stopwatch;

/// Each a second.
pub(crate) struct Speed {
    pub(crate) signatures: f64,
    pub(crate) verifications: f64,
}

/// About as much as a token's header and claims.
const MESSAGE: [u8; 900] = [b'x'; 900];

pub(crate) fn measure(seconds: f64) -> Result<Speed> {
    let random = SystemRandom::new();
    let failed = |_| anyhow!("the cryptography failed");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
    let signature = pair.sign(&random, &MESSAGE).map_err(failed)?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    Ok(Speed {
        signatures: each_second(seconds, || pair.sign(&random, &MESSAGE).map(|_| ()).map_err(failed))?,
        verifications: each_second(seconds, || public.verify(&MESSAGE, signature.as_ref()).map_err(failed))?,
    })
}

fn each_second(seconds: f64, mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    let (watch, mut done) = (Stopwatch::start(), 0.0);
    while watch.seconds() < seconds {
        for _ in 0..100 {
            step()?;
        }
        done += 100.0;
    }
    Ok(done / watch.seconds())
}
