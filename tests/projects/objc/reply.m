#include "module.h"

MODULE(reply, 4)
