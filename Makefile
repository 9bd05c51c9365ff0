# `make run` serves Chancery in development mode on a private Postgres, `make test` runs every test.
# Both install what is missing first. `cargo run` and `cargo test` do the same without looking.

# Where rustup puts cargo, for a shell that was opened before Rust came in.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: run test openapi crash rolling races faults fuzz long load check setup

run: setup
	cargo run

test: setup
	cargo test

# The long form of the test that kills server and database in the middle of their work.
crash: setup
	CHANCERY_TEST_ROUNDS=$${CHANCERY_TEST_ROUNDS:-100} cargo test --test process crash

# The long form of the rolling restart: at least 60,000 requests.
rolling: setup
	CHANCERY_TEST_ROUNDS=$${CHANCERY_TEST_ROUNDS:-12} cargo test --test rolling -- --nocapture

# The long form of the races on two servers over one database: a thousand rounds of each.
races: setup
	CHANCERY_TEST_ROUNDS=$${CHANCERY_TEST_ROUNDS:-1000} cargo test --release --test races -- --nocapture --test-threads 1

# The long form of the faults: five hundred servers killed under a mixed load, and as much of the rest as an hour allows.
faults: setup
	CHANCERY_TEST_ROUNDS=$${CHANCERY_TEST_ROUNDS:-167} cargo test --test faults -- --nocapture --test-threads 1 killed
	CHANCERY_TEST_ROUNDS=$${CHANCERY_TEST_ROUNDS:-30} cargo test --test faults -- --nocapture --test-threads 1 --skip killed

# The long form of the parsers: ten minutes of new inputs for each target, two hours in all on two cores.
fuzz: setup
	CHANCERY_TEST_SECONDS=$${CHANCERY_TEST_SECONDS:-600} cargo test --test fuzz -- --nocapture

# Ten thousand idle connections, and slow clients where slowhttptest is installed. Compares times: wants a quiet machine.
# The races come after it.
long: setup
	cargo test --release --test idle -- --ignored --nocapture --test-threads 1
	$(MAKE) races

# What the server can do on this machine, beside what its parts can do; docs/performance.md explains the table.
load: setup
	cargo bench --bench load

# After a change of routes or of their types: what is kept of the API's document.
openapi: setup
	cargo run -q -- openapi --postman >docs/postman.json.new
	mv docs/postman.json.new docs/postman.json
	INSTA_UPDATE=always cargo test --test api -- openapi::

# What .ci/run asks for beside the tests.
check:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

setup:
	@command -v cargo >/dev/null || { echo "Rust is missing. Install it as https://rustup.rs says, and run this again." >&2; exit 1; }
	@scripts/setup
