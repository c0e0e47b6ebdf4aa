#include "module.h"

MODULE(two, NUMBER)
