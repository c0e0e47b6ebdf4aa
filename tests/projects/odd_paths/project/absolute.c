int absolute(void) { return 10; }
