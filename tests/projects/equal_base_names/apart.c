#include "module.h"

int b_x(void);

MODULE(apart, b_x())
