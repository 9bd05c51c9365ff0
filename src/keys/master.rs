//! Where the master keys come from: a file, a line per key, the current one first. In development it is made on first
//! use.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::kit::config::{Config, Mode};
use crate::kit::error::{Error, Result};
use crate::kit::seal::MasterKeys;

/// Reads the master keys. In development a missing file is written, readable by its owner only.
pub fn load(config: &Config) -> Result<MasterKeys> {
    let path = config.master_key_file();
    match read(&path) {
        Ok(text) => parse(&path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound && config.mode == Mode::Development => {
            create(config)
        }
        Err(error) => Err(anyhow::anyhow!(
            "the master key can't be read from {}: {error}; `chancery init` makes one in the file that \
             keys.master_key_file (CHANCERY_KEYS_MASTER_KEY_FILE) names",
            path.display()
        )
        .into()),
    }
}

/// What is wrong with the text is told with the name of its file.
fn parse(path: &Path, text: &str) -> Result<MasterKeys> {
    MasterKeys::parse(text).map_err(|error| match error {
        Error::Fault(fault) => Error::Fault(fault.context(format!("the master key in {}", path.display()))),
        refused @ Error::Refused(_) => refused,
    })
}

/// Makes the file if it is not there. Of two processes that do so at once the loser reads the winner's.
pub fn create(config: &Config) -> Result<MasterKeys> {
    let path = config.master_key_file();
    let made = write_beside(&path, MasterKeys::generate()?.expose())?;
    // A hard link fails when the name is taken, and never shows a half-written file.
    let linked = fs::hard_link(&made, &path);
    fs::remove_file(&made)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => MasterKeys::parse(&read(&path)?),
    }
}

/// Puts a new key above those of the file; the former ones go on opening what they sealed.
pub fn add(config: &Config) -> Result<MasterKeys> {
    let path = config.master_key_file();
    let former = read(&path)?;
    let text = Zeroizing::new(format!("{}\n{}", MasterKeys::generate()?.expose(), *former));
    fs::rename(write_beside(&path, &text)?, &path)?;
    MasterKeys::parse(&text)
}

fn read(path: &Path) -> std::io::Result<Zeroizing<String>> {
    fs::read_to_string(path).map(Zeroizing::new)
}

/// Writes a file for its owner's eyes in the same directory, complete and on disk.
fn write_beside(path: &Path, text: &str) -> Result<std::path::PathBuf> {
    let made = path.with_extension(format!("{}.new", std::process::id()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&made)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(made)
}
