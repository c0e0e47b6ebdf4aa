int part_4(void) { return 4; }
