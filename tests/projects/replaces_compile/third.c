#include "module.h"

int number(void);

MODULE(third, number())
