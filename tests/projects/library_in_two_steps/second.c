#include "module.h"

int one(void);
int two(void);

MODULE(second, one() + two())
