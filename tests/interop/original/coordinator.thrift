/** The coordinator's contract as the original system had it. Our idl/coordinator.thrift extends it. */
service coordinator {
  double train(1: string dir, 2: i32 rounds, 3: i32 epochs, 4: i32 h, 5: i32 k, 6: double eta)
}
