#include "module.h"

int one(void);
int two(void);

MODULE(first, one() + two())
