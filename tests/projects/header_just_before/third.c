#include "module.h"

#include "third_config.h"

MODULE(third, NUMBER)
