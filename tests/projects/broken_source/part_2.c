int part_2(void) { return 2; }
