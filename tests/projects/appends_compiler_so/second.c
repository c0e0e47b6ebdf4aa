#include "module.h"

int steps(void);

MODULE(second, steps())
