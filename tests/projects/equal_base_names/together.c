#include "module.h"

int x(void);
int a_x(void);
int b_x(void);

MODULE(together, x() + a_x() + b_x())
