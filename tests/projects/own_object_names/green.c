#include "module.h"

int number(void);

MODULE(green, number())
