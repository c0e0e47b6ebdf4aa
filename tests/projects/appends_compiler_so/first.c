#include "module.h"

int steps(void);

MODULE(first, steps())
