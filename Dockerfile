# syntax=docker/dockerfile:1
# One image with all four binaries; the command chooses. It holds no secret and no configuration.

FROM rust:1.95-bookworm AS build
ARG TARGETPLATFORM
WORKDIR /src
COPY . .
# The cache mounts keep downloads and compiled dependencies between builds; binaries leave them before they go.
RUN --mount=type=cache,id=dogwatch-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=dogwatch-target-$TARGETPLATFORM,target=/src/target,sharing=locked \
    cargo build --release --locked \
        --package dogwatch --package dogwatch-api --package dogwatch-worker --package dogwatch-scheduler \
    && install -D --target-directory=/out \
        target/release/dogwatch target/release/dogwatch-api \
        target/release/dogwatch-worker target/release/dogwatch-scheduler

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/dogwatch dogwatch \
    && install --directory --owner=dogwatch --group=dogwatch /var/lib/dogwatch /var/lib/dogwatch/attachments
COPY --from=build /out/ /usr/local/bin/
USER dogwatch
WORKDIR /var/lib/dogwatch
EXPOSE 8080 9464 9465 9466
STOPSIGNAL SIGTERM
CMD ["dogwatch", "--help"]
