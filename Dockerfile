# The operator's image: one static binary and the certificate authorities, nothing else.
#
#   docker build --tag whimbrel:0.1.0 .
#
# Without a container engine: make image (deploy/image/build.sh) makes the same contents.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates libclang-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# Cargo tells sources apart by their times, and the kept target directory may be that of another checkout.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    touch src/*.rs && target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo rustc --locked --release --bin whimbrel --target "$target" \
       -- -C link-arg=-Wl,-z,pack-relative-relocs \
    && install -D --mode=0755 "target/$target/release/whimbrel" /out/whimbrel

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/whimbrel /whimbrel
LABEL org.opencontainers.image.title=whimbrel org.opencontainers.image.licenses=Apache-2.0
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/whimbrel"]
