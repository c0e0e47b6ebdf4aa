int edge_of(int a, int b) { return 2 * (a + b); }
