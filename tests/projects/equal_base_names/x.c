int x(void) { return 100; }
