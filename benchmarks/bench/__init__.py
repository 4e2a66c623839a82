"""What the benchmarks share: arms that take turns, the machine and its ceiling, sizes, made-up data, and the plain form of LAPO."""
