#!/usr/bin/env bash
# Runs the interoperability tests, and those of the durable store on an S3 server. Words after it go to pytest, which
# runs in this directory, and then the store is left out:
#   tests/interop/run.sh test_our_calls.py -k blobs
# ROUNDTABLE_BIN names the binary, target/release/roundtable by default. Needs Python 3.11 and, for the half of the
# tests that use Apache's library, Thrift's compiler 0.17 (Debian: thrift-compiler).
set -euo pipefail
for path in ROUNDTABLE_BIN ROUNDTABLE_GOLDEN; do
  if [ -n "${!path:-}" ]; then export "$path=$(realpath -m "${!path}")"; fi
done
cd "$(dirname "$0")"
venv=../../target/interop-venv
if ! command -v thrift >/dev/null; then
  echo 'run.sh: no `thrift` compiler found (Debian: apt-get install thrift-compiler)' >&2
  exit 2
fi
if ! cmp -s requirements.txt "$venv/installed.txt"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$venv/installed.txt"
fi
if [ $# = 0 ]; then
  ROUNDTABLE_PYTHON=$(realpath -s "$venv/bin/python") cargo test --locked --test store -- s3
fi
# -c keeps pytest from settings further up.
exec "$venv/bin/python" -m pytest -c /dev/null --rootdir=. -p no:cacheprovider -q "$@"
