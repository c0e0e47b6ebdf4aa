int NAME(void) { return SIZE; }
