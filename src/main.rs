//! The `chancery` program.

use std::io::Write;
use std::process::ExitCode;

use chancery::cli::{self, Cli};
use tikv_jemallocator::Jemalloc;

/// Requests make many small strings that end with them; the system's allocator spends a tenth of the server's time on those.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Cli::parse();
    // Before anything may verify a token: the library has no default backend.
    if jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().is_err() {
        return ExitCode::FAILURE;
    }
    match cli::run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when standard error itself is gone.
            let _ = writeln!(std::io::stderr(), "chancery: {}", cli::explain(&error));
            ExitCode::FAILURE
        }
    }
}
