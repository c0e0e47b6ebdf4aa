#include "module.h"

MODULE(second, 2)
