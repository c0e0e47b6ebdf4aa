#include "module.h"

int number(void);

MODULE(red, number())
