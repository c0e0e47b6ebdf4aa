#ifndef NUMBER
#define NUMBER 4
#endif

int number(void) { return NUMBER; }
