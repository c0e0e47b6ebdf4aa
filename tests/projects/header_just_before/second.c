#include "module.h"

#include "second_config.h"

MODULE(second, NUMBER)
