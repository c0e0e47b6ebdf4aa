#include "module.h"

#include "config.h"

MODULE(second, NUMBER)
