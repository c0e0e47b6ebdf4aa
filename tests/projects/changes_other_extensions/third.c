#include "module.h"

MODULE(third, NUMBER)
