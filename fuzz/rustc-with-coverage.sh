#!/bin/sh
# The compiler, for cargo to call on the workspace's own crates: what libFuzzer steers by is
# compiled in. The flags are those of cargo-fuzz; they need no nightly compiler.
exec "$@" \
  -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares \
  -Ccodegen-units=1
