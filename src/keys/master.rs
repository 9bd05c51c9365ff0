//! Where the master key comes from: a file. In development it is made on first use.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::kit::config::{Config, Mode};
use crate::kit::error::{Error, Result};
use crate::kit::secret::{MasterKey, Secret};

/// Reads the master key. In development a missing file is written, readable by its owner only.
pub fn load(config: &Config) -> Result<MasterKey> {
    let path = config.master_key_file();
    match fs::read_to_string(&path) {
        Ok(text) => parse(&path, &Secret::new(text)),
        Err(error) if error.kind() == ErrorKind::NotFound && config.mode == Mode::Development => {
            create(&path)
        }
        Err(error) => Err(anyhow::anyhow!(
            "the master key can't be read from {}: {error}; set keys.master_key_file \
             (CHANCERY_KEYS_MASTER_KEY_FILE) to a file that holds 32 random bytes in base64url",
            path.display()
        )
        .into()),
    }
}

/// What is wrong with the text is told with the name of its file.
fn parse(path: &Path, text: &Secret) -> Result<MasterKey> {
    MasterKey::parse(text.expose()).map_err(|error| match error {
        Error::Fault(fault) => Error::Fault(fault.context(format!("the master key in {}", path.display()))),
        refused @ Error::Refused(_) => refused,
    })
}

/// Two servers that start together on one data directory make one file: the loser reads the winner's.
fn create(path: &Path) -> Result<MasterKey> {
    let key = MasterKey::generate()?;
    let made = path.with_extension(format!("{}.new", std::process::id()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&made)?;
    file.write_all(key.expose().as_bytes())?;
    file.sync_all()?;
    // A hard link fails when the name is taken, and never shows a half-written file.
    let linked = fs::hard_link(&made, path);
    fs::remove_file(&made)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => MasterKey::parse(&fs::read_to_string(path)?),
    }
}
