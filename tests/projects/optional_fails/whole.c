int whole(void) { return 2; }
