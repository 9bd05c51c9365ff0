# `make run` serves Chancery in development mode on a private Postgres, `make test` runs every test.
# Both install what is missing first. `cargo run` and `cargo test` do the same without looking.

# Where rustup puts cargo, for a shell that was opened before Rust came in.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: run test crash check setup

run: setup
	cargo run

test: setup
	cargo test

# The long form of the test that kills server and database in the middle of their work.
crash: setup
	CHANCERY_TEST_ROUNDS=$${CHANCERY_TEST_ROUNDS:-100} cargo test --test process crash

# What .ci/run asks for beside the tests.
check:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

setup:
	@command -v cargo >/dev/null || { echo "Rust is missing. Install it as https://rustup.rs says, and run this again." >&2; exit 1; }
	@scripts/setup
