int cube(int a) { return a * a * a; }
