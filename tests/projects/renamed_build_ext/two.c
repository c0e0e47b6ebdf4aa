#include "module.h"

MODULE(two, FROM_SETUP_CFG + 5)
