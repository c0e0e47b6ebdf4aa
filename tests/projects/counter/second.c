#include "module.h"

MODULE(second, 100 * BUILT + STARTED)
