#include "module.h"

MODULE(one, FROM_SETUP_CFG + 4)
