int beside(void) { return 1; }
