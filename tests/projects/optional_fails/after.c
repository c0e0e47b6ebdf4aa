#include "module.h"

MODULE(after, 3)
