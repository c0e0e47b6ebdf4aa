int made(void) { return 8; }
