#include "module.h"

MODULE(second, NUMBER)
