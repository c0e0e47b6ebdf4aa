#include "module.h"

#include "first_config.h"

MODULE(first, NUMBER)
