#include "module.h"

MODULE(before, 1)
