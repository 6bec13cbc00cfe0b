#!/usr/bin/env bash
# Times other systems on the work of work.py, then ours if the binary is there (ROUNDTABLE_BIN, by default
# target/release/roundtable), and prints one table. Takes some minutes; the machine should have nothing else to do.
set -euo pipefail
. "$(dirname "$0")/common.sh"
told=../../target/peers.jsonl
: > "$told"
say_load before
for script in original_numpy torch_step two_process_torch flower_round ours; do
  time_one "$python" "$script.py"
done
time_our_steps
"$python" table.py < "$told"
