#include "module.h"

int kilometre(void);

MODULE(metric, kilometre())
