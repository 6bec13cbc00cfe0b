#!/usr/bin/env bash
# Makes src/wire/generated/ from idl/*.thrift with Thrift's compiler 0.17 (Debian: thrift-compiler).
# With --check, compares instead of writing, and exits 1 where they differ.
set -euo pipefail
cd "$(dirname "$0")/.."
out=src/wire/generated
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
for idl in blobs members compute_node coordinator; do
  thrift --gen rs -out "$made" "idl/$idl.thrift"
done
# The compiler reserves what a list's header claims, up to 2^31 elements; the runtime's own bound is 1,024.
sed -i 's/Vec::with_capacity(list_ident\.size as usize)/Vec::with_capacity(thrift::protocol::prealloc_size(list_ident.size))/' "$made"/*.rs
if grep -n 'with_capacity(list_ident' "$made"/*.rs; then
  echo 'generate.sh: a list is still reserved from its header' >&2
  exit 1
fi
if [ "${1:-}" = --check ]; then
  diff -ru "$out" "$made" && echo 'generated code is up to date'
else
  mkdir -p "$out"
  cp "$made"/*.rs "$out"/
fi
