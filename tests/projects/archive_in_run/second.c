#include "module.h"

int number(void);

MODULE(second, number())
