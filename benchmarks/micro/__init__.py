"""What single steps of the way cost, in µs of CPU a record, each beside a yardstick measured in the same round."""
