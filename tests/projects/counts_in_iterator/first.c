#include "module.h"

MODULE(first, NUMBER)
