"""The parts of benches/faults.py."""
