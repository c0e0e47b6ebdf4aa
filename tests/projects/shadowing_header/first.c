#include "module.h"

#include "config.h"

MODULE(first, NUMBER)
