int part_3(void) { return 3; }
