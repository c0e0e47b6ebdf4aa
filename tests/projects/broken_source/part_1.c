int part_1(void) { return 1; }
