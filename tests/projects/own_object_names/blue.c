#include "module.h"

int number(void);

MODULE(blue, number())
