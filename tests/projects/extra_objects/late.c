#include "module.h"

int number(void);

MODULE(late, number())
