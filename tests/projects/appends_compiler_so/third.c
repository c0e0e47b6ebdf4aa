#include "module.h"

int steps(void);

MODULE(third, steps())
