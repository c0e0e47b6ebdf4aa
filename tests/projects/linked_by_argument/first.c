#include "module.h"

MODULE(first, 1)
