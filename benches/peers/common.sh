# For run.sh and learning.sh, in this directory: $python, of a virtual environment with what requirements.txt names, and
# `time_one`. PyTorch's wheel brings CUDA's libraries along: 3 GB to download, 5.6 GB on disk, none of it used.
if [ -n "${ROUNDTABLE_BIN:-}" ]; then export ROUNDTABLE_BIN=$(realpath -m "$ROUNDTABLE_BIN"); fi
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=../../target/peers-venv
python=$venv/bin/python
if ! cmp -s requirements.txt "$venv/installed.txt"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$venv/installed.txt"
fi

# Runs a command and adds what it tells to $told. One that fails is missing from the table, and says why above it.
time_one() {
  echo "== $*" >&2
  "$@" >> "$told" || echo "$* failed" >&2
}

# Our own steps, if cargo is here; with `widths`, over the width of the hidden layer.
time_our_steps() {
  if [ -n "$(command -v cargo)" ]; then
    (cd ../.. && cargo build --quiet --release --example step) || return 0
    time_one env -C ../.. cargo run --quiet --release --example step -- "$@"
  fi
}

say_load() {
  echo "load average $1: $(cut -d' ' -f1-3 /proc/loadavg), cores: $(nproc)" >&2
}
