#!/usr/bin/env bash
# Times other systems on the work of work.py, then ours if the binary is there (ROUNDTABLE_BIN, by default
# target/release/roundtable), and prints one table. PyTorch's wheel brings CUDA's libraries along: 3 GB to download,
# 5.6 GB on disk, none of it used. Takes some minutes; the machine should have nothing else to do.
set -euo pipefail
if [ -n "${ROUNDTABLE_BIN:-}" ]; then export ROUNDTABLE_BIN=$(realpath -m "$ROUNDTABLE_BIN"); fi
cd "$(dirname "$0")"
venv=../../target/peers-venv
if ! cmp -s requirements.txt "$venv/installed.txt"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$venv/installed.txt"
fi
told=../../target/peers.jsonl
: > "$told"
echo "load average before: $(cut -d' ' -f1-3 /proc/loadavg), cores: $(nproc)" >&2
for script in original_numpy torch_step two_process_torch flower_round ours; do
  echo "== $script" >&2
  # One that fails is missing from the table, and says why above it.
  "$venv/bin/python" "$script.py" >> "$told" || echo "$script failed" >&2
done
if [ -n "$(command -v cargo)" ]; then
  echo '== step' >&2
  (cd ../.. && cargo run --quiet --release --example step) >> "$told" || echo 'step failed' >&2
fi
"$venv/bin/python" table.py < "$told"
