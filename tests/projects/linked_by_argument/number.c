int number(void) { return NUMBER; }
