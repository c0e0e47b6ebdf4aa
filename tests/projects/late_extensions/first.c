#include "module.h"

int number(void);

MODULE(first, number())
