#include "module.h"

int sum_to(int last);

MODULE(mixed, sum_to(5))
