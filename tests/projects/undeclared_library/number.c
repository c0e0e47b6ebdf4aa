int number(void) { return 2; }
