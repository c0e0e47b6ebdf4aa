#include "module.h"

MODULE(one, NUMBER)
