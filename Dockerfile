# The image of a Chancery server: one binary on a slim Debian, without a shell's help and without root.
#
#   docker build -t chancery .
#
# docker-compose.yml runs it with a database, two servers and a load balancer.

FROM rust:1.95-bookworm AS build
WORKDIR /build
# The dependencies first, under an empty program: this layer is made again only when the lock file changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/load \
    && echo 'fn main() {}' | tee src/main.rs >benches/load/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin chancery \
    && rm -r src benches
COPY benches benches
COPY migrations migrations
COPY src src
# Cargo compares times, and the sources may be older than the empty program.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin chancery

FROM debian:bookworm-slim
# The directory belongs to the server, and so does a named volume that is first mounted there.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 chancery \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/chancery --shell /usr/sbin/nologin chancery \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/chancery
COPY --from=build /build/target/release/chancery /usr/local/bin/chancery
USER 10001:10001
WORKDIR /var/lib/chancery
ENV CHANCERY_LISTEN=0.0.0.0:8899 \
    CHANCERY_DATA_DIR=/var/lib/chancery \
    CHANCERY_KEYS_MASTER_KEY_FILE=/var/lib/chancery/master.key
EXPOSE 8899
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/usr/local/bin/chancery", "health"]
ENTRYPOINT ["/usr/local/bin/chancery"]
CMD ["serve"]
