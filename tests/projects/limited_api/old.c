#include "module.h"

MODULE(old, 11)
