#include "module.h"

int part_1(void);

MODULE(parts, part_1())
