int part_8(void) { return 8; }
