#include "module.h"

MODULE(third, 100 * BUILT + STARTED)
