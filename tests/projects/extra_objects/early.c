#include "module.h"

int number(void);

MODULE(early, number())
