#include "module.h"

MODULE(first, 100 * BUILT + STARTED)
